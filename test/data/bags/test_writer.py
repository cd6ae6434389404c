"""Bag writer: complete bags, and nothing that is replaced."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.bag_samples import TOPIC, picture, serialized, storage_file, time_of, write_bag

from erfnet_ros.core.errors import BagError
from erfnet_ros.data.bags.message_types import CAMERA_INFO, IMAGE, LABEL_INFO
from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.data.bags.writer import BagWriter

ROOT = Path(__file__).resolve().parents[3]


def write_until_interrupted(path: Path) -> None:
    with BagWriter(path) as writer:
        writer.add(TOPIC, IMAGE)
        writer.write(TOPIC, 1, serialized(0))
        raise KeyboardInterrupt


def test_an_interrupted_bag_leaves_nothing_behind(tmp_path: Path) -> None:
    """Half a bag would be scored as if it were whole."""
    with pytest.raises(KeyboardInterrupt):
        write_until_interrupted(tmp_path / "bag")
    assert list(tmp_path.iterdir()) == []


def test_the_bag_appears_when_it_is_complete(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "deep" / "bag") as writer:
        writer.add(TOPIC, IMAGE)
        writer.write(TOPIC, 1, serialized(0))
        assert not (tmp_path / "deep" / "bag").exists()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["bag"]


def test_the_same_messages_make_the_same_bytes(tmp_path: Path) -> None:
    for storage in ("mcap", "sqlite3"):
        first, again = (write_bag(tmp_path / storage / side / "bag", 3, storage, "zstd") for side in "ab")
        assert storage_file(first).read_bytes() == storage_file(again).read_bytes()
        assert (first / "metadata.yaml").read_bytes() == (again / "metadata.yaml").read_bytes()


def test_what_exists_is_refused_unless_it_is_a_bag_to_be_replaced(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", 2)
    with pytest.raises(BagError, match=r"Expected a new bag, but '.*bag' exists; choose another name or use --force"):
        BagWriter(bag)
    with BagWriter(bag, force=True) as writer:
        writer.add(TOPIC, IMAGE)
        assert BagReader(bag).topics[TOPIC].count == 2
    assert BagReader(bag).topics[TOPIC].count == 0
    other = tmp_path / "photographs"
    other.mkdir()
    with pytest.raises(BagError, match=r"Expected a bag to replace, got '.*photographs', which is not a bag"):
        BagWriter(other, force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bag", "photographs"]


def test_a_name_taken_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="exists"), BagWriter(tmp_path / "bag"):
        (tmp_path / "bag").write_text("somebody else's")
    assert (tmp_path / "bag").read_text() == "somebody else's"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_unusable_order_is_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="Expected storage mcap or sqlite3, got 'hdf5'"):
        BagWriter(tmp_path / "bag", "hdf5")
    with pytest.raises(BagError, match=r"Expected compression none, zstd, got 'lz4'"):
        BagWriter(tmp_path / "bag", compression="lz4")
    with BagWriter(tmp_path / "bag") as writer:
        writer.add(TOPIC, IMAGE)
        with pytest.raises(BagError, match=f"Expected each topic once, got '{TOPIC}' again"):
            writer.add(TOPIC, CAMERA_INFO)
        with pytest.raises(BagError, match=f"Expected one of the added topics {TOPIC}, got '/other'"):
            writer.write("/other", 1, serialized(0))
        with pytest.raises(BagError, match=rf"Expected a time of 0 to \d+ ns on '{TOPIC}', got -1"):
            writer.write(TOPIC, -1, serialized(0))
        wrong = picture(0)
        wrong.width = "wide"
        with pytest.raises(BagError, match=f"Expected a {IMAGE} for '{TOPIC}', got an object that is not one"):
            writer.write(TOPIC, 1, wrong)
        with pytest.raises(BagError, match="got an object that is not one"):
            writer.write(TOPIC, 1, object())


def test_late_subscribers_get_the_class_names(tmp_path: Path) -> None:
    """rosbag2 plays a topic with the QoS that is recorded; RViz joins late."""
    with BagWriter(tmp_path / "bag") as writer:
        writer.add("/segmentation/label_info", LABEL_INFO)
        writer.add(TOPIC, IMAGE)
    information = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    # Version 8: from 9 on profiles are lists, which Humble to Jazzy do not read.
    assert information["version"] == 8
    entries = [entry["topic_metadata"] for entry in information["topics_with_message_count"]]
    profiles = {entry["name"]: yaml.safe_load(entry["offered_qos_profiles"]) for entry in entries}
    (latched,) = profiles["/segmentation/label_info"]
    # rmw's numbers: keep last, reliable, transient local.
    assert (latched["history"], latched["depth"], latched["reliability"], latched["durability"]) == (1, 1, 1, 1)
    assert profiles[TOPIC] is None


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX")
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_full_disk_is_an_error_and_leaves_nothing_behind(tmp_path: Path, storage: str) -> None:
    """A limit on the size of files stands for the disk: the system refuses to write in both cases."""
    program = f"""
import resource, sys
sys.path[:0] = {[str(ROOT), str(ROOT / "test")]!r}
from pathlib import Path
from support.bag_samples import write_bag
from erfnet_ros.core.errors import BagError
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    write_bag(Path({str(tmp_path / "bag")!r}), 400, {storage!r})
except BagError as error:
    print(error)
"""
    environment = {name: value for name, value in os.environ.items() if name != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.startswith(f"Cannot write the bag '{tmp_path / 'bag'}': ")
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BagError, match=r"Cannot write the bag '.*file/bag': '.*file' is not a folder; choose another"):
        BagWriter(tmp_path / "file" / "bag")


def test_time_runs_from_the_first_to_the_last_message_whatever_their_order(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag", split_bytes=1) as writer:
        writer.add(TOPIC, IMAGE)
        for index in (1, 3, 0):
            writer.write(TOPIC, time_of(index), serialized(index))
    information = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert information["starting_time"]["nanoseconds_since_epoch"] == time_of(0)
    assert information["duration"]["nanoseconds"] == time_of(3) - time_of(0)
    assert information["message_count"] == 3
