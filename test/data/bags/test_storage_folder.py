"""Storage folder of a bag: which files belong to it, and what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from support.bag_samples import TOPIC, serialized, storage_file, write_bag

from erfnet_ros.core.errors import BagError
from erfnet_ros.data.bags.reader import BagReader


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("missing", None, r"Expected a bag \(a rosbag2 folder, .mcap or .db3\), got '.*missing', which does not exist"),
        ("video.mp4", b"", r"got the file '.*video.mp4'\."),
        ("old.bag", b"#ROSBAG V2.0\n", r"got the file '.*old.bag' of ROS 1; convert it with rosbags-convert"),
    ],
)
def test_what_is_no_bag_is_refused(tmp_path: Path, name: str, content: bytes | None, text: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BagError, match=text):
        BagReader(tmp_path / name)


def test_a_folder_without_a_bag_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"")
    with pytest.raises(
        BagError, match=r"Expected a rosbag2 folder with metadata.yaml, got '.*', which has no .mcap or"
    ):
        BagReader(tmp_path)


def test_a_bag_may_be_named_by_its_metadata(tmp_path: Path) -> None:
    assert BagReader(write_bag(tmp_path / "bag", 2) / "metadata.yaml").topics[TOPIC].count == 2


def test_a_renamed_folder_is_the_same_bag(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", 2).rename(tmp_path / "other name")
    with BagReader(bag) as reader:
        assert [m.data for m in reader.messages()] == [serialized(0), serialized(1)]


@pytest.mark.parametrize("content", ["", "[1, 2]", "rosbag2_bagfile_information: {", "a: \x00", "x: {y: 1}"])
def test_damaged_metadata_is_told_and_the_files_are_read(tmp_path: Path, content: str) -> None:
    bag = write_bag(tmp_path / "bag", 2)
    (bag / "metadata.yaml").write_text(content)
    with BagReader(bag) as reader:
        assert len(list(reader.messages())) == 2
        assert reader.faults == ("metadata.yaml is damaged; 1 storage files in the folder were read",)
    storage_file(bag).unlink()
    with pytest.raises(BagError, match=r"Expected the metadata of rosbag2 in '.*metadata.yaml', got: "):
        BagReader(bag)


def test_a_missing_file_of_a_split_bag_is_told_with_what_it_costs(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", 6, split_bytes=3 * len(serialized(0)))
    (bag / "bag_0.mcap").unlink()
    with BagReader(bag) as reader:
        assert len(list(reader.messages())) == 3
        assert reader.faults == (
            "'bag_0.mcap', a file of the bag, is missing",
            "metadata.yaml lists 6 messages, 3 can be read: 3 are lost",
        )
    (bag / "bag_1.mcap").write_bytes(b"nothing")
    with pytest.raises(BagError, match=r"Expected an mcap file, got '.*bag_1.mcap', which does not start like one"):
        BagReader(bag)
    (bag / "bag_1.mcap").unlink()
    with pytest.raises(BagError, match=r"Expected the bag's files bag_0.mcap, bag_1.mcap in '.*bag', got none of them"):
        BagReader(bag)


def test_one_unreadable_file_of_several_is_told(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", 6, split_bytes=3 * len(serialized(0)))
    (bag / "bag_1.mcap").write_bytes(b"nothing")
    with BagReader(bag) as reader:
        assert len(list(reader.messages())) == 3
        assert "Expected an mcap file" in reader.faults[0]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_compressed_file_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path: Path, storage: str) -> None:
    bag = write_bag(tmp_path / "bag", 60, storage, "zstd-file")
    file = storage_file(bag)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with BagReader(bag) as reader:
        found = [m.data for m in reader.messages()]
        assert 10 < len(found) < 31
        assert found == [serialized(i) for i in range(len(found))]
        assert f"metadata.yaml lists 60 messages, {len(found)} can be read" in reader.faults[-1]


def test_a_compression_that_is_not_known_is_named(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", 1)
    content = yaml.safe_load((bag / "metadata.yaml").read_text())
    content["rosbag2_bagfile_information"].update(compression_format="lz4", compression_mode="FILE")
    (bag / "metadata.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(BagError, match=r"Expected compression zstd in '.*metadata.yaml', got lz4; convert the bag"):
        BagReader(bag)


def test_what_was_decompressed_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every evaluation would leave a copy of the bag in /tmp."""
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    with BagReader(write_bag(tmp_path / "bag", 2, "mcap", "zstd-file")) as reader:
        assert len(list((tmp_path / "tmp").iterdir())) == 1
        assert len(list(reader.messages())) == 2
    assert list((tmp_path / "tmp").iterdir()) == []
