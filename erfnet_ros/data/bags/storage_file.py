"""Storage file of a bag: read by rosbags, or by recovery where rosbags fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import apsw
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.storage_mcap import DECOMPRESSORS

from erfnet_ros.core.errors import BagError
from erfnet_ros.data.bags.message_types import Declaration, full_type
from erfnet_ros.data.bags.recovery.mcap_records import MAX_BYTES, inflated, read_index
from erfnet_ros.data.bags.recovery.recover_mcap import Record, RecoveredMcap
from erfnet_ros.data.bags.recovery.recover_sqlite3 import (
    RecoveredSqlite3,
    check_plain_tables,
    is_truncated,
    open_database,
    write_ahead_log,
)


class _Storage(Protocol):
    declarations: dict[Declaration, int]
    skipped: Counter[tuple[str, str]]
    faults: list[str]
    start_ns: int
    end_ns: int

    def messages(self, topics: Container[str]) -> Iterator[Record]: ...


RECOVERIES: Mapping[str, Callable[[Path], _Storage]] = {".mcap": RecoveredMcap, ".db3": RecoveredSqlite3}
"""What reads a damaged file, by the file's suffix."""


def _limit(database: apsw.Connection) -> None:
    database.limit(apsw.SQLITE_LIMIT_LENGTH, MAX_BYTES)
    database.execute("PRAGMA trusted_schema = OFF")


# rosbags has no limit for what a chunk unpacks to, nor for the length of a row.
DECOMPRESSORS.update({name: partial(inflated, compression=name) for name in ("zstd", "lz4")})
apsw.connection_hooks.append(_limit)


class _WholeFile:
    """A file that rosbags opens; anew for each reading, so that any number of them can go on at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.faults: list[str] = []
        self.declarations: dict[Declaration, int] = {}
        self.skipped: Counter[tuple[str, str]] = Counter()
        with Reader(path) as reader:
            for connection in reader.connections:
                if connection.ext.serialization_format != "cdr":
                    self.skipped[connection.topic, connection.ext.serialization_format] += connection.msgcount
                    continue
                declaration = _declaration(connection)
                self.declarations[declaration] = self.declarations.get(declaration, 0) + connection.msgcount
            some = reader.message_count > 0
            # rosbags says the nanosecond after the last message.
            self.start_ns: int = reader.start_time if some else 0
            self.end_ns: int = reader.end_time - 1 if some else 0

    def messages(self, topics: Container[str]) -> Iterator[Record]:
        with Reader(self._path) as reader:
            declarations = {
                connection.id: _declaration(connection)
                for connection in reader.connections
                if connection.topic in topics and connection.ext.serialization_format == "cdr"
            }
            wanted = [connection for connection in reader.connections if connection.id in declarations]
            for connection, time_ns, data in reader.messages(wanted) if wanted else ():
                if not (isinstance(time_ns, int) and isinstance(data, bytes)):
                    raise BagError("a message has no time or no data")
                yield declarations[connection.id], time_ns, data


def _misread(path: Path) -> bool:
    """Return whether rosbags would open a file, and then without a word yield too little or in the wrong order."""
    # Without an index it goes by the order of the file; with one that is not complete it passes over messages.
    # It leaves out what a recorder that was killed has not moved into the database yet.
    if path.suffix == ".db3":
        with closing(open_database(path)) as database:
            check_plain_tables(database, path)
        return is_truncated(path) or write_ahead_log(path) is not None
    return not read_index(path).complete


def _declaration(connection: Any) -> Declaration:
    return Declaration(
        connection.topic,
        full_type(connection.msgtype),
        connection.msgdef.data,
        connection.digest,
        tuple(connection.ext.offered_qos_profiles),
    )


class BagFile:
    """An .mcap or .db3 file.

    Attributes:
        path: The file.
        declarations: Its topics, each with its number of messages.
        skipped: Number of messages by topic and serialization that is not CDR.
        faults: What could not be read, in words; may grow while messages are read.
        start_ns: Time of the first message; 0 where there is none.
        end_ns: Time of the last message.

    Raises:
        BagError: Nothing of it can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise BagError(f"Cannot read '{path}': {error.strerror}.") from error
        self._storage: _Storage
        try:
            self._storage = RECOVERIES[path.suffix](path) if _misread(path) else _WholeFile(path)
        except BagError:
            raise
        except Exception:
            # A damaged file makes rosbags fail in many ways: ReaderError, TypeError, UnicodeDecodeError, apsw's own.
            self._storage = self._recovered()
        self.declarations, self.faults = self._storage.declarations, list(self._storage.faults)
        self.skipped = self._storage.skipped
        if self.skipped and not self.declarations:
            serializations = ", ".join(sorted({serialization for _, serialization in self.skipped}))
            raise BagError(
                f"Expected messages of ROS 2 (cdr) in '{path}', got {serializations}; record the topics with ros2 bag, "
                "or convert the file."
            )
        self.start_ns, self.end_ns = self._storage.start_ns, self._storage.end_ns

    def messages(self, topics: Container[str]) -> Iterator[Record]:
        """Yield the messages of these topics by time; what cannot be read is left out and told in `faults`."""
        if not isinstance(self._storage, _WholeFile):
            yield from self._rest(topics)
            return
        yielded, latest_ns, alike = 0, -1, 0
        try:
            for record in self._storage.messages(topics):
                yielded, alike = yielded + 1, alike + 1 if record[1] == latest_ns else 1
                latest_ns = record[1]
                yield record
            promised = sum(count for declaration, count in self.declarations.items() if declaration.topic in topics)
            if yielded < promised:
                self.faults.append(f"'{self.path.name}' lists {promised} messages, but contains {yielded}")
            return
        except Exception as error:
            # As above.
            self._storage = self._recovered()
            self.faults.extend(self._storage.faults or [f"'{self.path.name}' is damaged: {error}"])
        for record in self._rest(topics):
            # Go on where it broke off: behind the messages of that time that were yielded.
            alike -= record[1] == latest_ns
            if record[1] > latest_ns or (record[1] == latest_ns and alike < 0):
                yield record

    def _recovered(self) -> _Storage:
        """Return what reads the file without rosbags; BagError where nothing of it can be read."""
        try:
            return RECOVERIES[self.path.suffix](self.path)
        except BagError:
            raise
        except Exception as error:
            raise BagError(f"Nothing of '{self.path}' can be read ({type(error).__name__}: {error}).") from error

    def _rest(self, topics: Container[str]) -> Iterator[Record]:
        """Yield what can be recovered of these topics; what ends it early is told in `faults`."""
        try:
            yield from self._storage.messages(topics)
        except Exception as error:
            self.faults.append(f"'{self.path.name}' cannot be read to its end ({type(error).__name__}: {error})")
