"""Recovery of truncated and damaged MCAP files."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bag_samples import (
    MAGIC,
    SIZE,
    TOPIC,
    chunk,
    end,
    message,
    record,
    schema_and_channel,
    serialized,
    start,
    storage_file,
    text,
    time_of,
    write_bag,
)

from erfnet_ros.core.errors import BagError
from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.data.bags.recovery.mcap_records import read_index

LARGE = (320, 240)
"""Images of which a chunk of rosbags, a megabyte, holds five."""


def storage(path: Path, content: bytes) -> Path:
    """Write a storage file and return its path."""
    path.write_bytes(content)
    return path


def content_of(file: Path, content: bytes) -> tuple[list[int], tuple[str, ...]]:
    """Write a file; return the times of its messages, each of which must be what was written, and the faults."""
    with BagReader(storage(file, content)) as reader:
        messages = list(reader.messages())
        for found in messages:
            assert reader.decode(found).encoding == "rgb8"
        assert sum(topic.count for topic in reader.topics.values()) == len(messages)
        return [m.time_ns for m in messages], reader.faults


def chunked(count: int, compression: str, checksum: int | None = None, size: tuple[int, int] = SIZE) -> bytes:
    images = (serialized(index, size=size) for index in range(count))
    records = schema_and_channel() + b"".join(message(time_of(index), data) for index, data in enumerate(images))
    return chunk(records, [time_of(0), time_of(count - 1)], compression, checksum)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    from erfnet_ros.data.bags.message_types import IMAGE
    from erfnet_ros.data.bags.writer import BagWriter

    folder = tmp_path_factory.mktemp("recording")
    with BagWriter(folder / "bag") as writer:
        writer.add(TOPIC, IMAGE)
        for index in range(12):
            writer.write(TOPIC, time_of(index), serialized(index, size=LARGE))
    return storage_file(folder / "bag").read_bytes()


@pytest.mark.parametrize(("share", "whole"), [(0.999, 11), (0.9, 10), (0.5, 5), (0.25, 2), (0.05, 0)])
def test_a_truncated_recording_gives_every_whole_message(
    tmp_path: Path, recording: bytes, share: float, whole: int
) -> None:
    """Power loss on a robot is the commonest end of a recording."""
    times, faults = content_of(tmp_path / "cut.mcap", recording[: int(share * len(recording))])
    assert times[:whole] == [time_of(i) for i in range(whole)]
    assert len(times) - whole in (0, 1)
    (fault,) = faults
    assert re.search(r"'cut.mcap' is (cut off|damaged)", fault)
    if whole and len(times) < 12:
        assert re.search(r"\d+ bytes .* lost; the last whole message is at 170000000\d\.\d00 s", fault)


def test_only_the_index_lost_means_no_message_lost(tmp_path: Path, recording: bytes) -> None:
    times, faults = content_of(tmp_path / "cut.mcap", recording[:-1])
    assert len(times) == 12
    assert faults == ("'cut.mcap' is cut off or damaged after its last message: no message is lost",)


@pytest.mark.parametrize("compression", ["", "zstd", "lz4"])
def test_chunks_are_recovered_in_every_compression(tmp_path: Path, compression: str) -> None:
    whole = start() + chunked(3, compression, size=LARGE)
    times, faults = content_of(tmp_path / "cut.mcap", whole)
    assert times == [time_of(0), time_of(1), time_of(2)]
    assert faults == (
        f"'cut.mcap' is cut off at byte {len(whole)}: the rest of the recording is lost; "
        "the last whole message is at 1700000000.200 s",
    )
    times, faults = content_of(tmp_path / "cut.mcap", whole[:-100_000])
    assert times[:1] == [time_of(0)]
    assert len(times) < 3
    assert re.search(r"cut off at byte \d+: \d+ bytes of its last chunk and the rest .* are lost", faults[0])


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_damaged_chunk_costs_only_itself(tmp_path: Path, compression: str) -> None:
    first = chunk(schema_and_channel() + message(time_of(0), serialized(0)), [time_of(0)], compression)
    hurt = bytearray(chunk(message(time_of(1), serialized(1)), [time_of(1)], compression))
    hurt[200:260] = bytes(60)
    last = chunk(message(time_of(2), serialized(2)), [time_of(2)], compression)
    times, faults = content_of(tmp_path / "hurt.mcap", start() + first + bytes(hurt) + last + end())
    assert times == [time_of(0), time_of(2)]
    assert re.match(rf"the chunk at byte {len(start() + first) + 9} of 'hurt.mcap' \(\d+ bytes\) is lost: ", faults[0])


def test_a_wrong_checksum_is_damage(tmp_path: Path) -> None:
    """Bytes that changed on the disk must not be scored as an image."""
    times, faults = content_of(tmp_path / "hurt.mcap", start() + chunked(1, "") + chunked(2, "", checksum=1) + end())
    assert times == [time_of(0)]
    assert "its checksum is wrong" in faults[0]


def test_damage_that_shows_only_while_reading_is_told_too(tmp_path: Path, recording: bytes) -> None:
    """The index at the end is whole, and says nothing of the chunk in the middle."""
    damaged = bytearray(recording)
    prefix = damaged.index(serialized(6, size=LARGE)) - 31
    damaged[prefix : prefix + 9] = b"\xff" * 9
    with BagReader(storage(tmp_path / "hurt.mcap", damaged)) as reader:
        assert reader.faults == ()
        times = [m.time_ns for m in reader.messages()]
        assert times == [time_of(i) for i in (0, 1, 2, 3, 4, 5, 10, 11)]
        (fault,) = reader.faults
        assert re.fullmatch(r"the last \d+ bytes of the chunk at byte \d+ of 'hurt.mcap' are lost", fault)


def test_past_a_damaged_chunk_head_the_index_shows_the_way(tmp_path: Path, recording: bytes) -> None:
    offsets = read_index(storage(tmp_path / "whole.mcap", recording)).chunks
    assert len(offsets) == 3
    damaged = bytearray(recording)
    damaged[offsets[1] : offsets[1] + 9] = bytes(9)
    with BagReader(storage(tmp_path / "hurt.mcap", bytes(damaged))) as reader:
        # rosbags reads chunks by the index, and does not look at their heads.
        assert len(list(reader.messages())) == 12
    damaged[offsets[1] + 9 : offsets[2]] = bytes(offsets[2] - offsets[1] - 9)
    with BagReader(storage(tmp_path / "hurt.mcap", bytes(damaged))) as reader:
        times = [m.time_ns for m in reader.messages()]
        assert times == [time_of(i) for i in (0, 1, 2, 3, 4, 10, 11)]
        (fault,) = reader.faults
        lost = offsets[2] - offsets[1]
        assert fault == f"{lost} bytes from byte {offsets[1]} of 'hurt.mcap' on are damaged and lost"


def test_messages_outside_chunks_are_read_in_time_order(tmp_path: Path) -> None:
    """rosbags refuses such a file where its stamps go back."""
    loose = b"".join(message(time_of(i), serialized(i)) for i in (2, 0, 1))
    content = start() + schema_and_channel() + loose
    assert content_of(tmp_path / "plain.mcap", content + end()) == ([time_of(0), time_of(1), time_of(2)], ())
    times, faults = content_of(tmp_path / "cut.mcap", content[:-100])
    assert times == [time_of(0), time_of(2)]
    assert "damaged at byte" in faults[0]


@pytest.mark.parametrize("left_out", [0x04, 0x0B, None])
def test_an_index_that_leaves_things_out_costs_no_message(tmp_path: Path, left_out: int | None) -> None:
    """The format allows it, and rosbags then finds no topic, or no message."""
    file, block = tmp_path / "terse.mcap", chunked(2, "zstd")
    offsets = struct.pack("<HQ", 1, len(start() + block)) if left_out is not None else b""
    position = struct.pack("<QQQQ", time_of(0), time_of(1), len(start()), len(block))
    sizes = struct.pack("<Q", 0) + text("zstd") + struct.pack("<QQ", len(block) - 53, 0)
    counts = struct.pack("<QHIIIIQQI", 2, 1, 1, 0, 0, 1, time_of(0), time_of(1), 0)
    summary = {
        0x04: schema_and_channel(),
        0x08: record(0x08, position + struct.pack("<I", len(offsets)) + offsets + sizes),
        0x0B: record(0x0B, counts),
    }
    data_end = record(0x0F, bytes(4))
    begin = len(start() + block + data_end)
    footer = record(0x02, struct.pack("<QQI", begin, 0, 0)) + MAGIC
    kept = b"".join(part for opcode, part in summary.items() if opcode != left_out)
    assert content_of(file, start() + block + data_end + kept + footer) == ([time_of(0), time_of(1)], ())


def test_fewer_messages_than_the_index_counts_are_told(tmp_path: Path, recording: bytes) -> None:
    statistics = recording.rindex(struct.pack("<BQQHI", 0x0B, 56, 12, 1, 1))
    padded = bytearray(recording)
    padded[statistics + 9] = 13
    counts = statistics + 9 + 46
    assert padded[counts : counts + 10] == struct.pack("<HQ", 1, 12)
    padded[counts + 2] = 13
    with BagReader(storage(tmp_path / "x.mcap", bytes(padded))) as reader:
        assert len(list(reader.messages())) == 12
        assert reader.faults == ("'x.mcap' lists 13 messages, but contains 12",)


def test_records_that_are_not_known_are_passed_over(tmp_path: Path) -> None:
    attachment = record(0x09, bytes(40)) + record(0x7F, b"later")
    assert content_of(tmp_path / "more.mcap", start() + attachment + chunked(2, "zstd"))[0] == [time_of(0), time_of(1)]


def test_an_unknown_compression_is_named(tmp_path: Path) -> None:
    odd = chunked(1, "zstd").replace(text("zstd"), text("zstx"))
    _, faults = content_of(tmp_path / "odd.mcap", start() + chunked(1, "") + odd)
    assert "its compression 'zstx' is not known" in faults[0]


def test_what_is_no_recording_of_ros_2_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.mcap"
    for content in (b"", b"PK\x03\x04 a zip", MAGIC[:5]):
        file.write_bytes(content)
        with pytest.raises(BagError, match=r"Expected an mcap file, got '.*x\.mcap', which does not start like one"):
            BagReader(file)
    file.write_bytes(start("") + schema_and_channel(encoding="json") + end())
    with pytest.raises(BagError, match=r"Expected messages of ROS 2 \(cdr\) in .* got json; record the topics"):
        BagReader(file)


@settings(max_examples=60)
@given(st.data())
def test_no_damage_makes_it_fall_over_or_invent_messages(data: st.DataObject) -> None:
    """Cut anywhere, and any bytes overwritten: an error that says so, or messages that were written."""
    whole = start() + chunked(3, data.draw(st.sampled_from(["", "zstd", "lz4"]))) + chunked(2, "zstd") + end()
    hurt = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for position in data.draw(st.lists(st.integers(0, max(0, len(hurt) - 1)), max_size=3)):
        hurt[position : position + 1] = bytes([data.draw(st.integers(0, 255))])
    with TemporaryDirectory() as folder:
        file = Path(folder) / "x.mcap"
        file.write_bytes(hurt)
        try:
            with BagReader(file) as reader:
                found = list(reader.messages())
                assert bytes(hurt) == whole or reader.faults or len(found) <= 5
        except BagError:
            return
    assert len(found) <= 5


def test_a_folder_without_metadata_is_read_as_far_as_its_files_are_whole(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", 6, split_bytes=3 * len(serialized(0)))
    (bag / "metadata.yaml").unlink()
    last = bag / "bag_1.mcap"
    last.write_bytes(last.read_bytes()[:-11_000])
    with BagReader(bag) as reader:
        times = [m.time_ns for m in reader.messages()]
        assert times[:3] == [time_of(i) for i in range(3)]
        assert reader.faults[0] == (
            "metadata.yaml is missing: was the recording cut off?; 2 storage files in the folder were read"
        )
        assert "'bag_1.mcap' is cut off" in reader.faults[1]
