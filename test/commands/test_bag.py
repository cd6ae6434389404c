"""`erfnet bag`: bags made of images and labels, and the description of a bag's content and faults."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from support.bag_samples import PERIOD_NS, SIZE, START_NS, STORE, TOPIC, serialized, storage_file, write_bag

from erfnet_ros.commands.bag import main
from erfnet_ros.commands.cli import main as erfnet
from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.errors import BagError, ErfnetError, ParameterError, SourceError
from erfnet_ros.core.image import to_array
from erfnet_ros.core.image_decoding import compressed_to_array
from erfnet_ros.data.bags.message_types import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE
from erfnet_ros.data.bags.messages import camera_info, compressed_image, header
from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.data.bags.writer import BagWriter
from erfnet_ros.data.frame_sources import open_source
from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.evaluation.inputs.topic_selection import find_topics

CAMVID_TEST = Path(__file__).resolve().parents[3] / "shared" / "camvid" / "test"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of three images of colored blocks, with labels of which some are void."""
    root = tmp_path_factory.mktemp("frames")
    for kind in ("images", "labels"):
        (root / kind).mkdir()
    for index in range(3):
        random = np.random.default_rng(index)
        rgb = random.integers(0, 256, (SIZE[1] // 16, SIZE[0] // 16, 3), np.uint8).repeat(16, 0).repeat(16, 1)
        labels = random.integers(0, len(CAMVID) + 1, (SIZE[1], SIZE[0])).astype(np.uint8)
        assert cv2.imwrite(str(root / "images" / f"{index}.png"), rgb[..., ::-1])
        assert cv2.imwrite(str(root / "labels" / f"{index}.png"), labels)
    return root


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "png", "jpeg"])
def test_images_and_ground_truth_of_a_folder_lie_in_the_bag(folder: Path, tmp_path: Path, encoding: str) -> None:
    assert main(["make", str(folder), "-o", str(tmp_path / "bag"), "--encoding", encoding, "--rate", "10"]) == 0
    topic = "/camera/image_raw" + ("/compressed" if encoding in ("png", "jpeg") else "")
    with BagReader(tmp_path / "bag") as reader:
        assert {name: entry.count for name, entry in reader.topics.items()} == {
            topic: 3,
            "/camera/camera_info": 3,
            "/camera/truth": 3,
            "/camera/label_info": 1,
        }
        source = open_source(str(folder), CAMVID)
        for frame, message in zip(source, reader.messages([topic]), strict=True):
            image = reader.decode(message)
            rgb = to_array(image) if reader.topics[topic].type == IMAGE else compressed_to_array(image)
            if encoding == "jpeg":
                assert np.abs(rgb.astype(int) - frame.rgb).mean() < 40
            else:
                np.testing.assert_array_equal(rgb, frame.rgb)
        for frame, message in zip(source, reader.messages(["/camera/truth"]), strict=True):
            image = reader.decode(message)
            assert image.encoding == "mono8"
            np.testing.assert_array_equal(image.data.reshape(image.height, image.width), frame.ground_truth)
            assert 255 in image.data
            assert 11 not in image.data, "the file's void is 255 in a bag"


def test_every_message_of_a_frame_has_the_same_stamp(folder: Path, tmp_path: Path) -> None:
    main(["make", str(folder), "-o", str(tmp_path / "bag"), "--rate", "30"])
    with BagReader(tmp_path / "bag") as reader:
        stamps: dict[str, list[int]] = {}
        for message in reader.messages():
            assert message.time_ns == reader.stamp_ns(message)
            stamps.setdefault(message.topic, []).append(message.time_ns)
        assert stamps.pop("/camera/label_info") == [10**18]
        assert list(stamps.values()) == [[10**18, 10**18 + 33333333, 10**18 + 66666667]] * 3


def test_the_same_source_makes_the_same_bag(folder: Path, tmp_path: Path) -> None:
    """A report names the bag by its hash, wherever it was made."""
    arguments = ["make", str(folder), "--storage", "sqlite3", "--compression", "zstd", "-o"]
    for side in "ab":
        assert main([*arguments, str(tmp_path / side / "bag")]) == 0
    with BagReader(tmp_path / "a" / "bag") as a, BagReader(tmp_path / "b" / "bag") as b:
        assert a.fingerprint() == b.fingerprint()


def test_a_synthetic_street_comes_with_ground_truth(tmp_path: Path) -> None:
    assert main(["make", "synthetic:3", "--frames", "1", "-o", str(tmp_path / "bag")]) == 0
    with BagReader(tmp_path / "bag") as reader:
        (ground_truth,) = reader.messages(["/camera/truth"])
        ids = set(reader.decode(ground_truth).data.tolist())
        assert {CAMVID.names.index(name) for name in ("sky", "road", "building")} <= ids <= {*range(len(CAMVID)), 255}


def test_the_streets_depth_lies_in_the_bag_and_is_not_taken_for_the_camera(tmp_path: Path) -> None:
    assert main(["make", "synthetic:3", "--frames", "1", "--depth", "-o", str(tmp_path / "bag")]) == 0
    meters, intrinsics = Street(3).depth(0)
    with BagReader(tmp_path / "bag") as reader:
        (depth,) = map(reader.decode, reader.messages(["/camera/depth/image_raw"]))
        (info,) = map(reader.decode, reader.messages(["/camera/depth/camera_info"]))
        found = depth.data.view(np.float32).reshape(depth.height, depth.width)
        np.testing.assert_array_equal(found, meters)
        assert (depth.encoding, depth.step) == ("32FC1", 4 * depth.width)
        assert info.k[[0, 4, 2, 5]].tolist() == pytest.approx(intrinsics)
        assert find_topics(reader, image=None, ground_truth=None).image.name == "/camera/image_raw"


def test_images_without_labels_make_a_bag_without_ground_truth(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["make", str(folder / "images"), "-o", str(tmp_path / "bag"), "--topic", "/a/b/image", "--frames", "2"]
    assert main(arguments) == 0
    assert "2 frames on /a/b/image, without ground truth" in capsys.readouterr().out
    assert {topic: entry.count for topic, entry in BagReader(tmp_path / "bag").topics.items()} == {
        "/a/b/camera_info": 2,
        "/a/b/image": 2,
    }


def test_a_large_bag_is_split(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    for index in range(3):
        assert cv2.imwrite(str(tmp_path / "frames" / f"{index}.png"), np.zeros((480, 640, 3), np.uint8))
    main(["make", str(tmp_path / "frames"), "-o", str(tmp_path / "bag"), "--split-size", "1"])
    assert len(list((tmp_path / "bag").glob("*.mcap"))) == 3
    assert BagReader(tmp_path / "bag").topics["/camera/image_raw"].count == 3


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (["--topic", "camera"], ParameterError, r"Expected --topic like /camera/image_raw .*, got 'camera'"),
        (["--ground-truth-topic", "/a b"], ParameterError, r"Expected --ground-truth-topic like"),
        (
            ["--topic", "/camera/truth"],
            ParameterError,
            r"got '/camera/truth' twice; change --topic or --gr",
        ),
        (["--depth"], SourceError, r"Expected a source whose depth is known, .*; leave out --depth"),
        (["--rate", "0"], ParameterError, r"above 0 and up to 1000 as --rate .* got '0'"),
        (["--classes", "none.yaml"], ErfnetError, r"got 'none.yaml', which is no file"),
    ],
)
def test_wrong_options_are_refused(
    folder: Path, tmp_path: Path, options: list[str], error: type[ErfnetError], text: str
) -> None:
    with pytest.raises(error, match=text):
        main(["make", str(folder), "-o", str(tmp_path / "bag"), *options])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [["--frames", "0"], ["--encoding", "yuv"]])
def test_wrong_numbers_end_the_command_with_status_2(
    folder: Path, tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["make", str(folder), "-o", str(tmp_path / "bag"), *options])
    assert caught.value.code == 2
    assert f"erfnet bag make: error: argument {options[0]}" in capsys.readouterr().err


def test_an_existing_bag_is_kept_or_replaced_by_force(folder: Path, tmp_path: Path) -> None:
    arguments = ["make", str(folder), "-o", str(tmp_path / "bag")]
    assert main(arguments) == 0
    with pytest.raises(BagError, match="exists; choose another name or use --force"):
        main(arguments)
    assert main([*arguments, "--force", "--frames", "1"]) == 0
    assert BagReader(tmp_path / "bag").topics["/camera/truth"].count == 1


def test_a_frame_that_cannot_be_read_leaves_no_bag(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "a.png").write_bytes(cv2.imencode(".png", np.zeros((48, 64, 3), np.uint8))[1].tobytes())
    (tmp_path / "frames" / "b.png").write_bytes(b"not a picture")
    with pytest.raises(SourceError, match=r"b\.png"):
        main(["make", str(tmp_path / "frames"), "-o", str(tmp_path / "bag")])
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


@pytest.mark.skipif(not CAMVID_TEST.is_dir(), reason="CamVid (../shared/camvid) is absent")
def test_camvid_becomes_a_bag_in_one_command(tmp_path: Path) -> None:
    assert erfnet(["bag", "make", str(CAMVID_TEST), "-o", str(tmp_path / "bag"), "--frames", "5"]) == 0
    with BagReader(tmp_path / "bag") as reader:
        frame = open_source(str(CAMVID_TEST), CAMVID)[4]
        *_, last = reader.messages(["/camera/truth"])
        assert bytes(reader.decode(last).data) == frame.ground_truth.tobytes()


def info(capsys: pytest.CaptureFixture[str], *bags: Path, status: int = 0) -> list[str]:
    capsys.readouterr()
    assert main(["info", *map(str, bags)]) == status
    return capsys.readouterr().out.splitlines()


def test_info_lists_topics_counts_rates_and_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = info(capsys, write_bag(tmp_path / "bag", 5, compression="zstd"))
    assert lines[0].startswith(f"{tmp_path / 'bag'}: mcap, compression zstd (chunks), 0.0 MB; ")
    assert lines[0].endswith("5 messages in 0.400 s from 2023-11-14 22:13:20 UTC")
    assert lines[1:] == [f"  {TOPIC}  {IMAGE}  5  10.00 Hz, largest gap 0.100 s at 0.000 s, 64x48 rgb8"]


def test_info_finds_the_largest_gap_by_the_headers_stamps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recorder that stalls bends the bag's times; the camera's stamps tell when an image was taken."""
    with BagWriter(tmp_path / "bag") as writer:
        writer.add(TOPIC, IMAGE)
        for number, tenths in enumerate((0, 1, 2, 7, 8)):
            writer.write(TOPIC, START_NS + number, serialized(number, START_NS + tenths * PERIOD_NS))
    (line,) = info(capsys, tmp_path / "bag")[1:]
    assert "5.00 Hz, largest gap 0.500 s at 0.200 s" in line


def test_info_says_that_stamps_are_zero_or_out_of_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stamps = {"/zero": (0, 0, 0), "/some": (0, 5, 6), "/back": (START_NS + 2, START_NS, START_NS + 3)}
    with BagWriter(tmp_path / "bag") as writer:
        for topic, values in stamps.items():
            writer.add(topic, IMAGE)
            for number, stamp_ns in enumerate(values):
                writer.write(topic, START_NS + number * PERIOD_NS, serialized(number, stamp_ns))
    lines = info(capsys, tmp_path / "bag", status=1)
    assert lines[-3:] == [
        "  ! 1 of 3 messages on '/back' are stamped earlier than the one before",
        "  ! 1 of 3 messages on '/some' are stamped zero",
        "  ! all of 3 messages on '/zero' are stamped zero",
    ]
    assert "3  10.00 Hz" in next(line for line in lines if "/zero" in line), "the bag's own times still tell the rate"


def test_info_notes_what_is_odd_of_topics_that_are_no_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Service events have definitions of their own kind, and odd stamps are theirs: no image is lost."""
    definition = "AddTwoInts_Request[<=1] request\n" + "=" * 80 + "\nSRV: a/srv/AddTwoInts\nint64 a\n---\nint64 sum\n"
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        event = writer.add_connection(
            "/add/_service_event", "a/srv/AddTwoInts_Event", msgdef=definition, rihs01="RIHS01_" + "0" * 64
        )
        writer.write(event, START_NS, bytes(8))
        infos = writer.add_connection("/camera_info", CAMERA_INFO, typestore=STORE)
        for stamp_ns in (START_NS, 0):
            data = STORE.serialize_cdr(camera_info(64, 48, header(stamp_ns, "camera")), CAMERA_INFO)
            writer.write(infos, START_NS, data)
    lines = info(capsys, tmp_path / "bag", status=0)
    assert lines[-1] == "  - 1 of 2 messages on '/camera_info' are stamped zero"
    assert not any(line.startswith("  !") for line in lines)


def test_info_tells_a_depth_topic_from_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    depth = compressed_image(np.zeros((48, 64, 3), np.uint8), "png", header(START_NS, "camera"))
    depth.format = "16UC1; compressedDepth png"
    with BagWriter(tmp_path / "bag") as writer:
        writer.add("/depth", COMPRESSED_IMAGE)
        writer.write("/depth", START_NS, depth)
    assert info(capsys, tmp_path / "bag", status=0)[1].endswith("16UC1; compressedDepth png")


def test_info_counts_images_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        writer.add(TOPIC, IMAGE)
        for number, data in enumerate((serialized(0), serialized(1)[:200], b"\x00\x01", serialized(3))):
            writer.write(TOPIC, START_NS + number, data)
    lines = info(capsys, tmp_path / "bag", status=1)
    assert lines[-1] == f"  ! 2 of 4 messages on '{TOPIC}' cannot be read"


def test_info_counts_compressed_images_without_their_end(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """OpenCV makes a gray rest of it, and no error."""
    for encoding in ("jpeg", "png"):
        main(["make", str(folder), "-o", str(tmp_path / encoding), "--encoding", encoding, "--frames", "1"])
        topic = "/camera/image_raw/compressed"
        with BagReader(tmp_path / encoding) as reader, BagWriter(tmp_path / f"cut_{encoding}") as writer:
            (message,) = reader.messages([topic])
            image = reader.decode(message)
            whole = image.data
            writer.add(topic, COMPRESSED_IMAGE)
            for number, data in enumerate((whole, whole[: len(whole) // 2], whole[:0])):
                image.data = data
                writer.write(topic, START_NS + number, image)
        lines = info(capsys, tmp_path / f"cut_{encoding}", status=1)
        assert f"64x48 rgb8; {encoding} compressed bgr8" in lines[1]
        assert f"  ! 2 of 3 messages on '{topic}' cannot be read" in lines


def test_info_tells_what_a_truncated_bag_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = storage_file(write_bag(tmp_path / "bag", 5))
    file.write_bytes(file.read_bytes()[:30_000])
    lines = info(capsys, tmp_path / "bag", status=1)
    assert "  3  10.00 Hz" in lines[1]
    assert lines[2].startswith("  ! 'bag_0.mcap' is cut off at byte 30000: ")
    assert lines[3] == "  ! metadata.yaml lists 5 messages, 3 can be read: 2 are lost"


def test_info_as_json_says_the_same_of_several_bags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bags = [str(write_bag(tmp_path / name, count)) for name, count in (("one", 1), ("none", 0))]
    assert main(["info", "--json", *bags]) == 0
    one, none = json.loads(capsys.readouterr().out)
    assert (one["path"], one["messages"], one["duration_s"], one["faults"]) == (bags[0], 1, 0.0, [])
    (topic,) = one["topics"]
    assert (topic["name"], topic["count"], topic["rate_hz"], topic["image"]) == (TOPIC, 1, None, "64x48 rgb8")
    assert (none["messages"], none["start_ns"], none["topics"][0]["image"]) == (0, 0, None)


def test_what_is_no_bag_ends_the_command_with_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert erfnet(["bag", "info", str(tmp_path / "nothing")]) == 2
    error = capsys.readouterr().err.strip()
    assert error.endswith("nothing', which does not exist; check the path.")
    assert "\n" not in error
