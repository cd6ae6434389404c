"""Hostile bags: limits of memory and disk, and one clear error.

Each bag is a few kilobytes. It is read as `erfnet bag info` reads it, in a process whose memory is limited.
"""

from __future__ import annotations

import os
import resource
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import lz4.frame
import pytest
import zstandard
from support.bag_samples import (
    MAGIC,
    TOPIC,
    chunk,
    end,
    message,
    record,
    schema_and_channel,
    serialized,
    start,
    text,
    time_of,
    write_bag,
)

from erfnet_ros.core.errors import BagError
from erfnet_ros.data.bags import storage_file as storage_file_module
from erfnet_ros.data.bags import storage_folder
from erfnet_ros.data.bags.message_types import IMAGE
from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.data.bags.recovery import recover_sqlite3

MEMORY_BYTES = 3 << 30
HUGE = 4 << 30
SEPARATOR = "=" * 80 + "\n"
IDL = SEPARATOR + "IDL: a/msg/A\n"


def zstd_zeros(size: int) -> bytes:
    """Return a zstd frame of zeros that does not tell its size, in 4 bytes for each 128 KiB (RFC 8878, RLE blocks)."""
    block = struct.pack("<I", 1 << 20 | 2)[:3] + b"\0"
    return b"\x28\xb5\x2f\xfd\x00\x38" + (size >> 17) * block + b"\x01\0\0"


def lz4_zeros(size: int) -> bytes:
    """Return an lz4 frame of zeros whose blocks of 4 MiB are copies of one."""
    frame = lz4.frame.compress(
        bytes(4 << 20), block_size=lz4.frame.BLOCKSIZE_MAX4MB, block_linked=False, store_size=False
    )
    return frame[:7] + frame[7:-4] * (size >> 22) + frame[-4:]


def mcap(packed: bytes, compression: str, claimed: int) -> bytes:
    """Return an mcap file with an index, of one chunk whose head claims to hold so many bytes."""
    begin = start() + schema_and_channel()
    head = struct.pack("<QQQI", time_of(0), time_of(0), claimed, 0) + text(compression)
    stored = record(0x06, head + struct.pack("<Q", len(packed)) + packed)
    where = struct.pack("<QQQQ", time_of(0), time_of(0), len(begin), len(stored)) + struct.pack("<IHQ", 10, 1, 0)
    index = where + struct.pack("<Q", 0) + text(compression) + struct.pack("<QQ", len(packed), claimed)
    counts = struct.pack("<QHIIIIQQ", 1, 1, 1, 0, 0, 1, time_of(0), time_of(0)) + struct.pack("<IHQ", 10, 1, 1)
    summary = schema_and_channel() + record(0x08, index) + record(0x0B, counts)
    data_end = record(0x0F, bytes(4))
    footer = record(0x02, struct.pack("<QQI", len(begin) + len(stored) + len(data_end), 0, 0))
    return begin + stored + data_end + summary + footer + MAGIC


def defined(name: str, definition: str) -> bytes:
    """Return an mcap file with a message of a type that the file defines."""
    encoding = "ros2idl" if definition.startswith(IDL) else "ros2msg"
    schema = record(0x03, struct.pack("<H", 1) + text(name) + text(encoding) + text(definition))
    channel = record(0x04, struct.pack("<HH", 1, 1) + text(TOPIC) + text("cdr") + text(""))
    return start() + schema + channel + chunk(message(time_of(0), bytes(64)), [time_of(0)]) + end()


def database(path: Path, *statements: str) -> Path:
    """Return a database of rosbag2 with two messages, and what the statements make of it."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE topics(id INTEGER PRIMARY KEY, name, type, serialization_format)")
        connection.execute("CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp, data)")
        connection.execute("INSERT INTO topics VALUES(1, ?, ?, 'cdr')", (TOPIC, IMAGE))
        for index in range(2):
            row = (time_of(index), serialized(index))
            connection.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES(1, ?, ?)", row)
        for statement in statements:
            connection.execute(statement)
    return path


def info(bag: Path) -> tuple[str, int]:
    """Return what `erfnet bag info` says of a bag in limited memory, and its exit status."""
    done = subprocess.run(
        [sys.executable, "-m", "erfnet_ros.commands", "bag", "info", str(bag)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "TMPDIR": str(bag.parent)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES)),
    )
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    return said, done.returncode


@pytest.mark.parametrize("claimed", [HUGE, 1000])
@pytest.mark.parametrize(("compression", "pack"), [("zstd", zstd_zeros), ("lz4", lz4_zeros)])
@pytest.mark.parametrize("indexed", [True, False])
def test_a_chunk_that_unpacks_to_gigabytes_is_lost_with_a_fault(
    tmp_path: Path, compression: str, pack: Callable[[int], bytes], claimed: int, indexed: bool
) -> None:
    content = mcap(pack(HUGE), compression, claimed)
    bag = tmp_path / "bomb.mcap"
    bag.write_bytes(content if indexed else content[:-1])
    said, status = info(bag)
    assert status == 1
    assert "the chunk at byte" in said or "chunk" in said


def test_a_message_that_unpacks_to_gigabytes_is_left_out(tmp_path: Path) -> None:
    """Whether its frame tells the size or not."""
    told = zstandard.ZstdCompressor().compress(bytes(100))
    told = told[:4] + bytes([0xE0]) + struct.pack("<Q", HUGE) + told[6:]
    bag = database(tmp_path / "bomb.db3")
    with closing(sqlite3.connect(bag)) as connection, connection:
        for packed in (zstd_zeros(HUGE), told):
            connection.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES(1, 5, ?)", (packed,))
    said, status = info(bag)
    assert status == 1
    assert f"2 messages of '{TOPIC}' could not be decompressed" in said


@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
def test_a_compressed_file_does_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr(storage_folder, "_UNPACKED_BYTES", 4 << 20)
    bag = tmp_path / f"bomb{suffix}.zstd"
    bag.write_bytes(zstd_zeros(64 << 20))
    with pytest.raises(BagError, match=r"Expected at most 0\.0 GB in '.*zstd', which is 200 times its size"):
        BagReader(bag)


def test_what_a_killed_reader_left_is_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    bag = write_bag(tmp_path / "bag", 2, "mcap", "zstd-file")
    killed, used = tmp_path / "tmp" / "erfnet_bag_killed", BagReader(bag)
    killed.mkdir()
    (killed / "bag.mcap").write_bytes(bytes(100))
    for folder in (tmp_path / "tmp").iterdir():
        os.utime(folder, (time.time() - 3600,) * 2)
    with used, BagReader(bag):
        assert not killed.exists()
        assert len(list((tmp_path / "tmp").iterdir())) == 2, "the folder of a reader that lives stays"
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.parametrize(
    "statements",
    [
        # A view without an end, and one whose name differs by a capital letter.
        ("ALTER TABLE messages RENAME TO m", "CREATE VIEW messages AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL "
         "SELECT id + 1 FROM n) SELECT id, 1 AS topic_id, id AS timestamp, x'00' AS data FROM n"),
        ("ALTER TABLE topics RENAME TO t", "CREATE VIEW Topics AS SELECT * FROM t"),
        ("DROP TABLE messages", "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp, data GENERATED "
         "ALWAYS AS (zeroblob(900000000)))", "INSERT INTO messages VALUES(1, 1, 5)"),
        ("DROP TABLE messages", "CREATE VIRTUAL TABLE messages USING fts5(topic_id, timestamp, data)"),
    ],
    ids=["endless view", "view of topics", "generated column", "virtual table"],
)  # fmt: skip
def test_a_database_that_computes_its_messages_is_refused(tmp_path: Path, statements: tuple[str, ...]) -> None:
    bag = database(tmp_path / "bomb.db3", *statements)
    said, status = info(bag)
    assert status == 2
    assert "Expected the tables of rosbag2" in said
    # A damaged file goes to the recovery, and a log can change the tables.
    bag.write_bytes(bag.read_bytes() + b"x")
    said, status = info(bag)
    assert status == 2
    assert "Expected the tables of rosbag2" in said


@pytest.mark.parametrize("whole", [True, False])
def test_the_length_of_a_value_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    """The pages of a long value are a list; one that ends in itself would give a gigabyte."""
    bag = database(tmp_path / "bomb.db3", "UPDATE messages SET data = zeroblob(100000) WHERE id = 2")
    if not whole:
        bag.write_bytes(bag.read_bytes() + b"x")
    for module in (recover_sqlite3, storage_file_module):
        monkeypatch.setattr(module, "MAX_BYTES", 50_000)
    with BagReader(bag) as reader:
        assert [found.data for found in reader.messages()] == [serialized(0)]
        assert "too big" in reader.faults[0]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO messages(topic_id, timestamp, data) VALUES(1, NULL, x'00')",
        "INSERT INTO messages(topic_id, timestamp, data) VALUES(1, 5, NULL)",
        "INSERT INTO messages(topic_id, timestamp, data) VALUES(1, 'noon', 'text')",
        "INSERT INTO topics VALUES(2, NULL, NULL, NULL)",
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_rows_without_time_data_or_name_cost_only_themselves(tmp_path: Path, statement: str, whole: bool) -> None:
    bag = database(tmp_path / "odd.db3", statement)
    if not whole:
        bag.write_bytes(bag.read_bytes() + b"x")
    with BagReader(bag) as reader:
        found = [found.data for found in reader.messages()]
        assert found == [serialized(index) for index in range(len(found))]
        assert len(found) >= 1 + whole
        assert (
            not whole or "topics" in statement or "1 messages of 'odd.db3' have no time or no data" in reader.faults[0]
        )


@pytest.mark.parametrize(
    ("name", "definition"),
    [
        ("a/msg/A", "string[300000000] names\n"),
        ("a/msg/A", "A[2] self\n"),
        ("a/msg/A", f"B[9999] b\n{SEPARATOR}MSG: a/B\nC[9999] c\n{SEPARATOR}MSG: a/C\nstring[9999] s\n"),
        ("a/msg/A", IDL + "module a { const long x = 1 << 80000000000; };\n"),
        ("a/msg/A", IDL + f"module a {{ const long x = {'(' * 30}1{')' * 30}; }};\n"),
        # pytest puts the name of a test, which is the text without an id, into the environment.
        pytest.param("a/msg/A", "int32 = = 3 %%\n" * 10_000, id="long"),
        ("class/msg/def", "int32 class\nstring import\n"),
        (IMAGE, "string[300000000] data\n"),
        (IMAGE, f"std_msgs/Header header\n{SEPARATOR}MSG: std_msgs/Header\nstring[300000000] stamp\n"),
    ],
)
def test_no_definition_in_a_bag_costs_time_or_memory(tmp_path: Path, name: str, definition: str) -> None:
    bag = tmp_path / "bomb.mcap"
    bag.write_bytes(defined(name, definition))
    said, status = info(bag)
    assert TOPIC in said
    assert status == (1 if name == IMAGE else 0), "an image of zeros is none"


@pytest.mark.parametrize(
    "content",
    [
        "a: &a ["
        + ", ".join(["x"] * 10)
        + "]\n"
        + "".join(f"{c}: &{c} [{', '.join(['*' + p] * 10)}]\n" for p, c in zip("abcdefghi", "bcdefghij", strict=True))
        + "rosbag2_bagfile_information: {relative_file_paths: *j, compression_format: *j, message_count: *j}\n",
        "rosbag2_bagfile_information: {relative_file_paths: [bag_0.mcap], compression_format: &a [*a], "
        "compression_mode: file}\n",
        "[" * 50_000,
        "rosbag2_bagfile_information: [1]\n",
        "x: " + "y" * (17 << 20),
    ],
    ids=["aliases", "alias of itself", "brackets", "list", "17 MB"],
)
def test_metadata_that_unfolds_is_read_as_damaged(tmp_path: Path, content: str) -> None:
    bag = write_bag(tmp_path / "bag", 2)
    (bag / "metadata.yaml").write_text(content)
    said, status = info(bag)
    assert status in (1, 2)
    assert "metadata.yaml" in said
    assert len(said) < 3000


def test_names_in_a_bag_cannot_forge_lines_of_the_terminal(tmp_path: Path) -> None:
    bag = tmp_path / "bag.mcap"
    bag.write_bytes(
        defined("a/msg/A\x1b[2J", "int32 x\n").replace(TOPIC.encode(), b"/x\n\x1b[31m" + b"y" * (len(TOPIC) - 8))
    )
    said, _ = info(bag)
    assert "\x1b" not in said
    assert r"/x\n\x1b[31m" in said
