"""Bag reader: messages byte for byte, in every storage and compression of rosbag2."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import rosbags.rosbag2
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bag_samples import (
    PERIOD_NS,
    SIZE,
    START_NS,
    STORE,
    TOPIC,
    chunk,
    end,
    message,
    picture,
    schema_and_channel,
    serialized,
    start,
    storage_file,
    time_of,
    write_bag,
)

from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.errors import BagError
from erfnet_ros.core.image import to_array
from erfnet_ros.data.bags.message_types import CAMERA_INFO, IMAGE, LABEL_INFO, STATISTICS, Declaration
from erfnet_ros.data.bags.messages import camera_info, header, label_info
from erfnet_ros.data.bags.reader import BagReader, Message
from erfnet_ros.data.bags.topics import Topic, find_topic
from erfnet_ros.data.bags.writer import STORAGES, BagWriter

FORMS = [
    (storage, compression)
    for storage in ("mcap", "sqlite3")
    for compression in ("none", "zstd", "zstd-message", "zstd-file")
]


@pytest.mark.parametrize(("storage", "compression"), FORMS)
def test_messages_come_back_byte_for_byte_and_in_time_order(tmp_path: Path, storage: str, compression: str) -> None:
    bag = write_bag(tmp_path / "bag", 5, storage, compression)
    with BagReader(bag) as reader:
        assert reader.topics == {TOPIC: Topic(TOPIC, IMAGE, 5)}
        assert (reader.start_ns, reader.end_ns) == (time_of(0), time_of(4))
        assert list(reader.messages()) == [Message(TOPIC, IMAGE, time_of(i), serialized(i)) for i in range(5)]
        assert reader.faults == ()
        assert (reader.compression == "none") == (compression == "none")


@pytest.mark.parametrize(("storage", "compression"), [form for form in FORMS if form[1] != "zstd-message"])
def test_a_bare_storage_file_is_a_bag_too(tmp_path: Path, storage: str, compression: str) -> None:
    file = storage_file(write_bag(tmp_path / "bag", 3, storage, compression))
    lone = Path(shutil.move(file, tmp_path / file.name))
    with BagReader(lone) as reader:
        assert [m.data for m in reader.messages()] == [serialized(i) for i in range(3)]
        assert reader.faults == ()
        assert reader.storage == storage


@settings(max_examples=15)
@given(
    storage=st.sampled_from(["mcap", "sqlite3"]),
    compression=st.sampled_from(["none", "zstd"]),
    stamps=st.lists(st.integers(0, 2**31 * 10**9 - 1), min_size=1, max_size=6),
    frame_id=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    data=st.binary(max_size=200),
)
def test_any_stamp_frame_and_bytes_survive(
    storage: str, compression: str, stamps: list[int], frame_id: str, data: bytes
) -> None:
    """Headers are the only link between an image, its ground truth and its mask."""
    pixels = np.frombuffer(data, np.uint8)
    image = STORE.types[IMAGE]
    with TemporaryDirectory() as folder:
        with BagWriter(Path(folder) / "bag", storage, compression=compression) as writer:
            writer.add(TOPIC, IMAGE)
            for stamp_ns in stamps:
                writer.write(TOPIC, stamp_ns, image(header(stamp_ns, frame_id), 1, len(data), "mono8", 0, 1, pixels))
        with BagReader(Path(folder) / "bag") as reader:
            messages = list(reader.messages([TOPIC]))
            assert [m.time_ns for m in messages] == sorted(stamps)
            for found in messages:
                decoded = reader.decode(found)
                assert reader.stamp_ns(found) == found.time_ns
                assert decoded.header.stamp.sec * 10**9 + decoded.header.stamp.nanosec == found.time_ns
                assert decoded.header.frame_id == frame_id
                assert bytes(decoded.data) == data


def test_a_decoded_image_is_a_view_of_the_message(tmp_path: Path) -> None:
    """A copy of each frame would cost what the engine needs."""
    with BagReader(write_bag(tmp_path / "bag", 1)) as reader:
        (found,) = reader.messages()
        pixels = to_array(reader.decode(found))
        assert np.shares_memory(pixels, np.frombuffer(found.data, np.uint8))
        np.testing.assert_array_equal(pixels, picture(0).data.reshape(SIZE[1], SIZE[0], 3))


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_split_bag_is_read_as_one(tmp_path: Path, storage: str) -> None:
    bag = write_bag(tmp_path / "bag", 7, storage, split_bytes=3 * len(serialized(0)))
    information = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    suffix = {"mcap": "mcap", "sqlite3": "db3"}[storage]
    assert information["relative_file_paths"] == [f"bag_{part}.{suffix}" for part in range(3)]
    assert [file["message_count"] for file in information["files"]] == [3, 3, 1]
    assert information["duration"]["nanoseconds"] == 6 * PERIOD_NS
    with BagReader(bag) as reader:
        assert [m.time_ns for m in reader.messages()] == [time_of(i) for i in range(7)]
        assert reader.topics[TOPIC].count == 7
    with rosbags.rosbag2.Reader(bag) as independent:
        assert [data for _, _, data in independent.messages()] == [serialized(i) for i in range(7)]


def test_files_of_a_split_bag_that_overlap_in_time_are_merged(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag", split_bytes=1) as writer:
        writer.add(TOPIC, IMAGE)
        for index in (2, 0, 1):
            writer.write(TOPIC, time_of(index), serialized(index))
    with BagReader(tmp_path / "bag") as reader:
        assert [m.data for m in reader.messages()] == [serialized(i) for i in range(3)]


def test_any_number_of_readings_go_on_at_once(tmp_path: Path) -> None:
    """Images and ground truth are read side by side."""
    file = tmp_path / "unindexed.mcap"
    blocks = [chunk(schema_and_channel() + message(time_of(i), serialized(i)), [time_of(i)]) for i in range(3)]
    file.write_bytes(start() + b"".join(blocks) + end())
    for bag in (file, write_bag(tmp_path / "bag", 3)):
        with BagReader(bag) as reader:
            assert all(a == b for a, b in zip(reader.messages(), reader.messages(), strict=True))


def test_the_types_of_this_package_and_of_vision_msgs_are_known(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.add("/segmentation/label_info", LABEL_INFO)
        writer.add("/segmentation/statistics", STATISTICS)
        writer.add("/camera/camera_info", CAMERA_INFO)
        writer.write("/segmentation/label_info", 1, label_info(CAMVID, header(1, ""), 0.5))
        writer.write("/camera/camera_info", 2, camera_info(640, 480, header(2, "camera")))
    with BagReader(tmp_path / "bag") as reader:
        labels, info = (reader.decode(m) for m in reader.messages())
        assert [entry.class_name for entry in labels.class_map] == list(CAMVID.names)
        assert (labels.threshold, info.width, info.height) == (0.5, 640, 480)
        qos = {entry.topic: entry.qos for entry in reader.declarations}
        assert [profile.durability.name for profile in qos["/segmentation/label_info"]] == ["TRANSIENT_LOCAL"]


def test_a_foreign_type_travels_with_its_own_definition(tmp_path: Path) -> None:
    definition = "std_msgs/Header header\nfloat32[] weights\n"
    with BagWriter(tmp_path / "first") as writer:
        with pytest.raises(BagError, match=r"known type for '/x', got 'arm_msgs/msg/Weights', which is not defined"):
            writer.add("/x", "arm_msgs/msg/Weights")
        writer.add_declared(Declaration("/x", "arm_msgs/msg/Weights", definition, "", ()))
        weights = np.array([1.5, 2.5], np.float32)
        written = STORE.types["sensor_msgs/msg/Temperature"]  # Only its header is looked at.
        body = bytes(STORE.serialize_cdr(written(header(5, "arm"), 0.0, 0.0), "sensor_msgs/msg/Temperature"))[:20]
        writer.write("/x", 5, body + b"\x02\x00\x00\x00" + weights.tobytes())
    with BagReader(tmp_path / "first") as reader, BagWriter(tmp_path / "second") as writer:
        for declaration in reader.declarations:
            writer.add_declared(declaration)
        for found in reader.messages():
            writer.write(found.topic, found.time_ns, found.data)
    with BagReader(tmp_path / "second") as reader:
        (found,) = reader.messages()
        assert reader.stamp_ns(found) == 5
        assert found.data.endswith(weights.tobytes())
        assert [declaration.definition for declaration in reader.declarations] == [definition]


def test_a_bag_from_before_iron_is_read_with_the_types_that_are_known(tmp_path: Path) -> None:
    """Its database does not define its types."""
    (tmp_path / "old").mkdir()
    with closing(sqlite3.connect(tmp_path / "old" / "old_0.db3")) as database, database:
        database.execute("CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT)")
        database.execute("CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data)")
        topics = [(1, TOPIC, IMAGE, "cdr"), (2, "/arm", "arm_msgs/msg/State", "cdr")]
        database.executemany("INSERT INTO topics VALUES(?, ?, ?, ?)", topics)
        rows = [(1, time_of(0), serialized(0)), (2, time_of(1), bytes(16))]
        database.executemany("INSERT INTO messages(topic_id, timestamp, data) VALUES(?, ?, ?)", rows)
    information = {"version": 2, "storage_identifier": "sqlite3", "relative_file_paths": ["old/old_0.db3"]}
    (tmp_path / "old" / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": information}))
    with BagReader(tmp_path / "old") as reader:
        image, state = reader.messages()
        assert reader.decode(image).height == SIZE[1]
        assert reader.stamp_ns(state) is None
        with pytest.raises(BagError, match="a type of ROS 2 or of erfnet_ros on '/arm', got arm_msgs/msg/State"):
            reader.decode(state)


def test_stamps_are_read_in_both_byte_orders(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.add(TOPIC, IMAGE)
        writer.write(TOPIC, 1, bytes(STORE.serialize_cdr(picture(3), IMAGE, little_endian=False)))
    with BagReader(tmp_path / "bag") as reader:
        (found,) = reader.messages()
        assert reader.stamp_ns(found) == time_of(3)
        assert reader.decode(found).header.stamp.sec == time_of(3) // 10**9


def test_the_fingerprint_names_the_content(tmp_path: Path) -> None:
    first, again = write_bag(tmp_path / "a" / "bag", 3), write_bag(tmp_path / "b" / "bag", 3)
    other = write_bag(tmp_path / "c" / "bag", 4)
    first, again, other = (BagReader(bag).fingerprint() for bag in (first, again, other))
    assert re.fullmatch("[0-9a-f]{64}", first)
    assert first == again != other


def test_a_message_that_is_none_is_told_with_topic_and_time(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.add(TOPIC, IMAGE)
        for index, data in enumerate((serialized(0), serialized(1)[:100], b"")):
            writer.write(TOPIC, time_of(index), data)
    with BagReader(tmp_path / "bag") as reader:
        good, cut, empty = reader.messages()
        assert reader.decode(good).width == SIZE[0]
        with pytest.raises(BagError, match=rf"{IMAGE} on '{TOPIC}' at 1700000000\.100 s, got 100 bytes"):
            reader.decode(cut)
        with pytest.raises(BagError, match="got 0 bytes that cannot be read as one"):
            reader.decode(empty)
        assert reader.stamp_ns(empty) is None


def test_a_damaged_compressed_message_is_left_out_and_counted(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.add(TOPIC, IMAGE)
        writer.write(TOPIC, 1, b"\x28\xb5\x2f\xfd" + bytes(50))
        writer.write(TOPIC, 2, serialized(2))
    with BagReader(tmp_path / "bag") as reader:
        assert [m.time_ns for m in reader.messages()] == [2]
        assert reader.faults == (f"1 messages of '{TOPIC}' could not be decompressed",)


@pytest.fixture
def several(tmp_path: Path) -> BagReader:
    with BagWriter(tmp_path / "bag") as writer:
        for topic in ("/front/image_raw", "/rear/image_raw"):
            writer.add(topic, IMAGE)
            writer.write(topic, START_NS, serialized(0))
        writer.add("/front/camera_info", CAMERA_INFO)
        writer.write("/front/camera_info", START_NS, camera_info(64, 48, header(START_NS, "front")))
    return BagReader(tmp_path / "bag")


def test_a_topic_is_found_by_type_where_only_one_fits(several: BagReader) -> None:
    assert find_topic(several, None, types=(CAMERA_INFO,), what="info").name == "/front/camera_info"
    assert find_topic(several, "rear/image_raw", types=(IMAGE,), what="image").name == "/rear/image_raw"


@pytest.mark.parametrize(
    ("wanted", "types", "text"),
    [
        (None, (IMAGE,), "got 2: /front/image_raw, /rear/image_raw; choose one with --image-topic"),
        (
            None,
            (LABEL_INFO,),
            r"a topic of vision_msgs/msg/LabelInfo in .* got none; it has /front/camera_info",
        ),
        ("/front/imge_raw", (IMAGE,), r"did you mean '/front/image_raw'\? it has /front/camera_info"),
        ("/camera/camera_info", (CAMERA_INFO,), r"did you mean '/front/camera_info'\?"),
        (
            "/front/camera_info",
            (IMAGE,),
            "Expected sensor_msgs/msg/Image on the image topic '/front/camera_info', got",
        ),
        ("/lidar", (IMAGE,), "which has none of that name; it has"),
    ],
)
def test_a_topic_that_cannot_be_had_is_refused_with_those_that_can(
    several: BagReader, wanted: str | None, types: tuple[str, ...], text: str
) -> None:
    with pytest.raises(BagError, match=text):
        find_topic(several, wanted, types=types, what="image")


def test_reading_a_topic_that_is_not_there_is_refused_at_once(several: BagReader) -> None:
    with pytest.raises(BagError, match=r"Expected topic '/nope' in .*, which has none of that name; it has /front"):
        several.messages(["/nope"])


def test_memory_stays_flat_over_many_frames(tmp_path: Path) -> None:
    """A bag of an hour is larger than any memory."""
    import tracemalloc

    with BagWriter(tmp_path / "bag") as writer:
        writer.add(TOPIC, IMAGE)
        data = serialized(0, size=(320, 240))
        for index in range(400):
            writer.write(TOPIC, time_of(index), data)
    tracemalloc.start()
    with BagReader(tmp_path / "bag") as reader:
        sizes = []
        for number, _ in enumerate(reader.messages()):
            if number in (40, 399):
                sizes.append(tracemalloc.get_traced_memory()[0])
        peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sizes[1] < sizes[0] + 1e6
    assert peak < 40 * len(data)


def test_the_real_rclpy_reads_what_was_written_and_is_read_in_turn(tmp_path: Path) -> None:
    serialization = pytest.importorskip("rclpy.serialization", reason="needs ROS 2")
    from sensor_msgs.msg import CameraInfo, Image

    ours = pytest.importorskip("erfnet_ros.msg", reason="needs the built package").SegmentationStatistics
    statistics = ours(class_ids=[0, 1], class_names=["sky", "road"], shares=[0.25, 0.75], frames_processed=7)
    statistics.header.stamp.sec = 12
    with BagWriter(tmp_path / "bag") as writer:
        writer.add(TOPIC, IMAGE)
        writer.add("/camera/camera_info", CAMERA_INFO)
        writer.add("/segmentation/statistics", STATISTICS)
        writer.write(TOPIC, 1, picture(1))
        writer.write("/camera/camera_info", 2, camera_info(64, 48, header(2, "camera")))
        writer.write("/segmentation/statistics", 3, serialization.serialize_message(statistics))
    with BagReader(tmp_path / "bag") as reader:
        image, info, statistics = reader.messages()
        read = serialization.deserialize_message(image.data, Image)
        assert (read.header.stamp.sec, read.header.frame_id, read.encoding) == (1_700_000_000, "camera", "rgb8")
        assert bytes(read.data) == picture(1).data.tobytes()
        assert serialization.deserialize_message(info.data, CameraInfo).width == 64
        decoded = reader.decode(statistics)
        assert (decoded.header.stamp.sec, decoded.class_names, decoded.frames_processed) == (12, ["sky", "road"], 7)


@pytest.mark.parametrize("type", [IMAGE, CAMERA_INFO, STATISTICS])
def test_types_are_hashed_as_ros_hashes_them(tmp_path: Path, type: str) -> None:
    """rosbag2 and Foxglove match types by this hash."""
    package, _, name = type.split("/")
    prefixes = [sys.prefix, *os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)]
    files = [Path(prefix) / "share" / package / "msg" / f"{name}.json" for prefix in prefixes]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        pytest.skip(f"{package} is not installed")
    hashes = json.loads(file.read_text())["type_hashes"]
    expected = {entry["type_name"]: entry["hash_string"] for entry in hashes}[type]
    with BagWriter(tmp_path / "bag", "sqlite3") as writer:
        writer.add("/x", type)
    with BagReader(tmp_path / "bag") as reader:
        assert [declaration.digest for declaration in reader.declarations] == [expected]


@pytest.mark.skipif(shutil.which("ros2") is None, reason="ros2 is not installed")
@pytest.mark.parametrize(("storage", "compression"), FORMS)
def test_rosbag2_reads_what_was_written(tmp_path: Path, storage: str, compression: str) -> None:
    command = ["ros2", "bag", "info", str(write_bag(tmp_path / "bag", 3, storage, compression))]
    done = subprocess.run(command, capture_output=True, text=True)
    if "invalid choice: 'bag'" in done.stderr:
        pytest.skip("ros2 bag is not installed")
    assert done.returncode == 0, done.stderr
    assert re.search(rf"Topic: {TOPIC} \| Type: sensor_msgs/msg/Image \| Count: 3", done.stdout)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("recovered", [False, True])
def test_a_type_without_msg_in_its_name_and_a_topic_that_is_not_cdr_cost_nothing(
    tmp_path: Path, storage: str, recovered: bool
) -> None:
    """Some recorders write sensor_msgs/Image, and JSON next to the messages of ROS 2."""
    bag = tmp_path / "bag"
    writer = rosbags.rosbag2.Writer(bag, version=8, storage_plugin=STORAGES[storage])
    definition = STORE.generate_msgdef(IMAGE, ros_version=2)[0]
    with writer:
        images = writer.add_connection(TOPIC, "sensor_msgs/Image", msgdef=definition, rihs01="RIHS01_" + "0" * 64)
        status = writer.add_connection(
            "/status", IMAGE, msgdef=definition, rihs01="RIHS01_" + "0" * 64, serialization_format="json"
        )
        for index in range(4):
            writer.write(images, time_of(index), serialized(index))
            writer.write(status, time_of(index), b"{}")
    file = storage_file(bag)
    if recovered:
        content = file.read_bytes()
        file.write_bytes(content[:-1] if storage == "mcap" else content + bytes(1))
    with BagReader(bag) as reader:
        messages = list(reader.messages())
        assert {message.type for message in messages} == {IMAGE}
        assert [message.data for message in messages][:3] == [serialized(index) for index in range(3)]
        np.testing.assert_array_equal(reader.decode(messages[0]).data, picture(0).data)
        assert reader.notes == ("'/status' is skipped: its messages are json, not cdr",)
        assert list(reader.topics) == [TOPIC]
        if not recovered:
            assert (len(messages), reader.faults) == (4, ())


def test_a_type_that_only_the_recovery_finds_has_no_stamp(tmp_path: Path) -> None:
    """Found by fuzzing: the index names one type, breaks off, and what it stands for names another."""
    content = bytearray(storage_file(write_bag(tmp_path / "bag", 2)).read_bytes())
    place = content.index(IMAGE.encode())
    content[place : place + len(IMAGE)] = IMAGE[:-1].encode() + b"g"
    content[-279] ^= 0xFF
    (tmp_path / "damaged.mcap").write_bytes(content)
    with BagReader(tmp_path / "damaged.mcap") as reader:
        found = list(reader.messages())
        assert {message.type for message in found} == {IMAGE[:-1] + "g"}
        assert [reader.stamp_ns(message) for message in found] == [None] * len(found)
