"""Recovery of a damaged sqlite3 bag file, read page by page in the order in which it was written."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Iterator
from contextlib import closing
from pathlib import Path
from typing import cast
from urllib.parse import quote

import apsw

from erfnet_ros.core.errors import BagError
from erfnet_ros.data.bags.message_types import Declaration, full_type
from erfnet_ros.data.bags.recovery.mcap_records import MAX_BYTES
from erfnet_ros.data.bags.recovery.recover_mcap import Record

_TABLES = ("messages", "topics", "message_definitions", "schema", "metadata")
"""The tables of a bag."""

_HEADER_BYTES = 100
"""Of a database file; source: https://www.sqlite.org/fileformat.html."""


def is_truncated(path: Path) -> bool:
    """Return whether a file ends in the middle of a page: sqlite reads zeros for the rest, and says nothing."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        # 1 stands for 65536, which has no place in two bytes.
        page_bytes = int.from_bytes(header[16:18], "big")
        return len(header) < _HEADER_BYTES or file.seek(0, os.SEEK_END) % (65536 if page_bytes == 1 else page_bytes) > 0


def write_ahead_log(path: Path) -> Path | None:
    """Return the file of what a recorder that was killed has not moved into the database yet; None without one."""
    log = path.with_name(f"{path.name}-wal")
    return log if log.is_file() and log.stat().st_size else None


def check_plain_tables(database: apsw.Connection, path: Path) -> None:
    """Refuse a bag whose tables are views, virtual, or have generated columns: small ones may give rows without end.

    Raises:
        BagError: It is such a one.
        apsw.Error: Not a database, or damaged.
    """
    names = "SELECT name, type FROM pragma_table_list WHERE schema = 'main' AND lower(name) IN (?, ?, ?, ?, ?)"
    for name, kind in database.execute(names, _TABLES).fetchall():
        computed = database.execute("SELECT count(*) FROM pragma_table_xinfo(?) WHERE hidden", (name,)).fetchone()
        if kind != "table" or computed != (0,):
            raise BagError(
                f"Expected the tables of rosbag2 in '{path}', got '{name}' as a {kind} that computes what it returns; "
                "this is no recording."
            )


def open_database(path: Path, mode: str = "immutable=1") -> apsw.Connection:
    """Open a database to read what is in it and nothing that it computes, with a limit for the length of a value."""
    # Python's own sqlite3 has no limits before 3.11.
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    database = apsw.Connection(f"file:{quote(str(path.resolve()))}?{mode}", flags=flags)
    database.limit(apsw.SQLITE_LIMIT_LENGTH, MAX_BYTES)
    database.execute("PRAGMA trusted_schema = OFF")
    # Otherwise a file shorter than its header says is refused as a whole.
    database.execute("PRAGMA writable_schema = ON")
    return database


def _data(database: apsw.Connection, row: int) -> bytes:
    ((data,),) = database.execute("SELECT data FROM messages WHERE id = ?", (row,)).fetchall()
    return cast(bytes, data)


class RecoveredSqlite3:
    """A sqlite3 file, read without its index for as long as its pages are whole, with its write-ahead log.

    Its attributes are those of `BagFile`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.faults: list[str] = []
        self.declarations: dict[Declaration, int] = {}
        self.skipped: Counter[tuple[str, str]] = Counter()
        self._rows: list[tuple[int, int, int]] = []
        self._mode = "immutable=1"
        if write_ahead_log(path):
            self._try_with_log()
        with closing(self._open()) as database:
            try:
                check_plain_tables(database, path)
                self._topics = self._read_topics(database)
            except apsw.Error as error:
                raise BagError(
                    f"Expected a rosbag2 database with its tables in '{self._path}', got: {error}; "
                    "try 'sqlite3 FILE .recover', or record again."
                ) from error
            error_text = self._read_rows(database)
            truncated = self._mode != "mode=ro" and is_truncated(path)
            if truncated and self._rows and not (error_text and self._is_last_whole(database)):
                # The page that is cut belongs to the last message, or to the index.
                self._rows.pop()
        if truncated or self._mode != "mode=ro" or error_text:
            self.faults.append(self._loss(error_text))
        self._rows.sort()
        counts = Counter(topic for _, _, topic in self._rows)
        for key, (declaration, serialization) in self._topics.items():
            if serialization == "cdr":
                self.declarations[declaration] = counts[key]
            else:
                self.skipped[declaration.topic, serialization] = counts[key]
        self.start_ns, self.end_ns = (self._rows[0][0], self._rows[-1][0]) if self._rows else (0, 0)

    def _try_with_log(self) -> None:
        # Without `immutable` sqlite reads the log too, for which it writes an index into the folder.
        self._mode = "mode=ro"
        try:
            with closing(self._open()) as database:
                database.execute("SELECT count(*) FROM sqlite_master")
        except apsw.Error as error:
            self._mode = "immutable=1"
            self.faults.append(
                f"'{self._path.name}-wal' holds messages that are not read ({error}); copy the bag to a "
                "folder that can be written to"
            )

    def _loss(self, error: str) -> str:
        kept = len(self._rows)
        last = f"; the last whole message is at {self._rows[-1][0] / 1e9:.3f} s" if kept else ""
        loss = f"what follows its first {kept} messages is lost" if error else f"{kept} messages were read"
        where = error or f"at byte {self._path.stat().st_size}"
        return f"'{self._path.name}' is cut off or damaged ({where}): {loss}{last}"

    def messages(self, topics: Container[str]) -> Iterator[Record]:
        """Yield the messages of these topics by time."""
        with closing(self._open()) as database:
            for time_ns, row, topic in self._rows:
                declaration, serialization = self._topics.get(topic, (None, ""))
                if declaration is not None and serialization == "cdr" and declaration.topic in topics:
                    yield declaration, time_ns, _data(database, row)

    def _read_rows(self, database: apsw.Connection) -> str:
        """Take in the messages in the order of writing; return what ended it, or nothing at their end."""
        useless = 0
        try:
            for time_ns, row, topic, kind in database.execute(
                "SELECT timestamp, id, topic_id, typeof(data) FROM messages NOT INDEXED ORDER BY id"
            ):
                # Reading it proves that its pages are there.
                database.execute("SELECT length(data || '') FROM messages WHERE id = ?", (row,)).fetchone()
                if isinstance(time_ns, int) and kind == "blob":
                    self._rows.append((time_ns, row, topic))
                else:
                    useless += 1
        except apsw.Error as error:
            return str(error)
        if useless:
            self.faults.append(f"{useless} messages of '{self._path.name}' have no time or no data, and are left out")
        return ""

    def _is_last_whole(self, database: apsw.Connection) -> bool:
        # Of a page that is cut some versions of sqlite make an error at the next message, others one filled with zeros.
        return _data(database, self._rows[-1][1])[-1:] != b"\0"

    def _open(self) -> apsw.Connection:
        return open_database(self._path, self._mode)

    def _read_topics(self, database: apsw.Connection) -> dict[int, tuple[Declaration, str]]:
        """Return each topic with its serialization, by its key."""
        rows = database.execute("SELECT id, name, type, serialization_format FROM topics").fetchall()
        return {
            key: (
                Declaration(name, full_type(kind), self._definition(database, kind), "", ()),
                str(serialization or "cdr"),
            )
            for key, name, kind, serialization in rows
            if isinstance(key, int) and isinstance(name, str) and isinstance(kind, str)
        }

    @staticmethod
    def _definition(database: apsw.Connection, kind: str) -> str:
        try:
            query = "SELECT encoded_message_definition FROM message_definitions WHERE topic_type = ?"
            found = database.execute(query, (kind,)).fetchone()
        except apsw.Error:
            # Bags before Iron have no such table.
            return ""
        return str(found[0]) if found else ""
