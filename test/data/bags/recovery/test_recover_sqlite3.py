"""Recovery of damaged SQLite bags."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
from support.bag_samples import TOPIC, serialized, storage_file, time_of, write_bag

from erfnet_ros.core.errors import BagError
from erfnet_ros.data.bags.message_types import IMAGE
from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.data.bags.writer import BagWriter


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return storage_file(write_bag(tmp_path / "bag", 20, "sqlite3"))


@pytest.mark.parametrize(("share", "least"), [(0.9, 15), (0.7, 11), (0.5, 6)])
def test_a_truncated_database_gives_its_first_messages(database: Path, share: float, least: int) -> None:
    content = database.read_bytes()
    database.write_bytes(content[: int(share * len(content))])
    with BagReader(database) as reader:
        found = list(reader.messages())
        assert least <= len(found) < 20
        assert [m.data for m in found] == [serialized(i) for i in range(len(found))]
        assert reader.topics[TOPIC].count == len(found)
        (fault,) = reader.faults
    assert re.search(
        rf"cut off or damaged \(.*\): what follows its first {len(found)} messages is lost; "
        rf"the last whole message is at {time_of(len(found) - 1) / 1e9:.3f} s",
        fault,
    )


@pytest.mark.parametrize("cut", [1, 4095, 4096])
def test_no_message_is_filled_up_with_zeros(database: Path, cut: int) -> None:
    """What sqlite does with a page that is cut, without a word."""
    database.write_bytes(database.read_bytes()[:-cut])
    with BagReader(database) as reader:
        found = list(reader.messages())
        assert [m.data for m in found] == [serialized(i) for i in range(19)]
        assert reader.faults[0].startswith("'bag_0.db3' is cut off or damaged (")


def test_a_damaged_index_costs_no_message(database: Path) -> None:
    content = bytearray(database.read_bytes())
    with sqlite3.connect(database) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'timestamp_idx'").fetchone()
    connection.close()
    content[(page - 1) * 4096 : page * 4096] = bytes(4096)
    database.write_bytes(content)
    with BagReader(database) as reader:
        assert [m.data for m in reader.messages()] == [serialized(i) for i in range(20)]
        assert "20 messages were read" in reader.faults[0]


def test_damage_that_shows_only_while_reading_repeats_and_skips_nothing(tmp_path: Path) -> None:
    """Written in another order than that of their times, some of them alike."""
    with BagWriter(tmp_path / "bag", "sqlite3") as writer:
        writer.add(TOPIC, IMAGE)
        for index, tenth in enumerate((5, 0, 1, 1, 1, 2, 3)):
            writer.write(TOPIC, time_of(tenth), serialized(index))
    file = storage_file(tmp_path / "bag")
    content = bytearray(file.read_bytes())
    # The last page of the message of 0.3 s claims to be followed by one that does not exist.
    begin = content.index(serialized(6)[-3000:-2900]) // 4096 * 4096
    second = content.index(serialized(6)[5000:5100]) // 4096 * 4096
    assert begin >= second
    content[second : second + 4] = (2**20).to_bytes(4, "big")
    file.write_bytes(content)
    with BagReader(file) as reader:
        assert reader.faults == ()
        found = [m.data for m in reader.messages()]
        assert found == [serialized(i) for i in (1, 2, 3, 4, 5, 0)]
        assert "what follows its first 6 messages is lost" in reader.faults[0]


def test_metadata_says_how_many_messages_are_lost(database: Path) -> None:
    content = database.read_bytes()
    database.write_bytes(content[: len(content) // 2])
    with BagReader(database.parent) as reader:
        count = reader.topics[TOPIC].count
        assert f"metadata.yaml lists 20 messages, {count} can be read: {20 - count} are lost" in reader.faults


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\x00", b"no database, but long enough to be looked at" * 40])
def test_what_is_no_database_of_rosbag2_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.db3"
    file.write_bytes(content)
    with pytest.raises(BagError, match=r"Expected a rosbag2 database with its tables in '.*x\.db3', got: .*recover"):
        BagReader(file)


@pytest.fixture
def killed(database: Path, tmp_path: Path) -> Path:
    """Return what a recorder leaves that is killed: its last 15 of 20 messages are in the log alone."""
    live = sqlite3.connect(database, isolation_level=None)
    rows = live.execute("SELECT id, topic_id, timestamp, data FROM messages WHERE id > 5").fetchall()
    live.execute("DELETE FROM messages WHERE id > 5")
    live.execute("PRAGMA journal_mode = WAL")
    live.execute("PRAGMA wal_autocheckpoint = 0")
    live.executemany("INSERT INTO messages (id, topic_id, timestamp, data) VALUES (?, ?, ?, ?)", rows)
    (tmp_path / "killed").mkdir()
    for file in (database, database.with_name(f"{database.name}-wal")):
        (tmp_path / "killed" / file.name).write_bytes(file.read_bytes())
    live.close()
    return tmp_path / "killed" / database.name


def test_the_messages_in_the_log_of_a_killed_recorder_are_read(killed: Path) -> None:
    with BagReader(killed) as reader:
        assert [m.data for m in reader.messages()] == [serialized(i) for i in range(20)]
        assert reader.faults == ()


def test_a_log_that_cannot_be_read_is_told(killed: Path) -> None:
    # As in a folder that is read-only: sqlite cannot write its index.
    killed.with_name(f"{killed.name}-shm").symlink_to("nowhere")
    with BagReader(killed) as reader:
        assert [m.data for m in reader.messages()] == [serialized(i) for i in range(5)]
        assert re.search(
            r"'bag_0.db3-wal' holds messages that are not read \(.*\); copy the bag to a folder that can be written to",
            reader.faults[0],
        )
