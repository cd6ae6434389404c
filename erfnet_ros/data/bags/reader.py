"""Reader of rosbag2 bags without ROS: topics, serialized messages, decoded messages."""

from __future__ import annotations

import hashlib
import heapq
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from erfnet_ros.core.errors import BagError
from erfnet_ros.data.bags.message_types import Declaration, begins_with_header, known_types
from erfnet_ros.data.bags.recovery.mcap_records import MAX_BYTES, chunk_compression
from erfnet_ros.data.bags.storage_file import BagFile
from erfnet_ros.data.bags.storage_folder import ScratchFolder, find_files, inflated
from erfnet_ros.data.bags.topics import Topic, missing

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
"""How a message begins that rosbag2 has compressed; serialized ones begin with a zero (CDR's encapsulation)."""

_STAMP_END = 12
"""Bytes of a message up to the end of its header's stamp: encapsulation, seconds, nanoseconds."""

_HASHED_BYTES = 1 << 20


@dataclass(frozen=True)
class Message:
    """A message as it lies in the bag.

    Attributes:
        topic: Its topic's name.
        type: Its type, such as "sensor_msgs/msg/Image".
        time_ns: When it was recorded, nanoseconds; the stamp in its header is `BagReader.stamp_ns`.
        data: Serialized, CDR with its four bytes of encapsulation.
    """

    topic: str
    type: str
    time_ns: int
    data: bytes


class BagReader:
    """A bag: a rosbag2 folder, or a single .mcap or .db3 file, compressed (.zstd) or not.

    A damaged file is read as far as it is whole. Any number of readings may go on at once.

    Attributes:
        path: What was opened.
        topics: Its topics by name.
        start_ns: Time of the first message; 0 where there is none.
        end_ns: Time of the last message.
        size_bytes: Size of the storage files on the disk.
        storage: "mcap" or "sqlite3".
        compression: "none", or what the files are compressed with, in words.
        notes: What is unusual about it and costs no message of ROS 2, in words.

    Raises:
        BagError: It is missing, is no bag of ROS 2, or nothing of it can be read.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._folder = find_files(self.path)
        self._temporary: ScratchFolder | None = None
        self._unreadable: dict[str, int] = {}
        self._failures: list[str] = []
        try:
            self._files = self._open()
        except BaseException:
            self.close()
            raise
        counts: Counter[Declaration] = Counter()
        for file in self._files:
            counts.update(file.declarations)
        self.declarations = tuple(counts)
        self.topics = _topics(counts)
        some = [file for file in self._files if any(file.declarations.values())]
        self.start_ns = min((file.start_ns for file in some), default=0)
        self.end_ns = max((file.end_ns for file in some), default=0)
        self.size_bytes = sum(file.stat().st_size for file in self._folder.files)
        self.storage = "mcap" if ".mcap" in self._folder.files[0].suffixes else "sqlite3"
        self.compression = self._folder.compression
        if self.compression == "none" and self.storage == "mcap":
            self.compression = chunk_compression(self._folder.files[0])
        self._skipped: Counter[tuple[str, str]] = sum((file.skipped for file in self._files), Counter())
        self.notes = tuple(f"'{topic}' is skipped: its messages are {kind}, not cdr" for topic, kind in self._skipped)
        self._headed = {entry.type: begins_with_header(entry.definition) for entry in counts}
        for name in self._headed.keys() & known_types().fielddefs.keys():
            _, fields = known_types().fielddefs[name]
            self._headed[name] = bool(fields) and fields[0][1][1] == "std_msgs/msg/Header"

    def __enter__(self) -> BagReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove what was decompressed to read it."""
        if self._temporary is not None:
            self._temporary.close()
            self._temporary = None

    @property
    def faults(self) -> tuple[str, ...]:
        """What could not be read, in words; complete once the messages have been read."""
        told = [*self._folder.faults, *self._failures]
        told += [fault for file in self._files for fault in file.faults]
        told += [
            f"{count} messages of '{topic}' could not be decompressed" for topic, count in self._unreadable.items()
        ]
        several = Counter(topic for topic, _ in {(entry.topic, entry.type) for entry in self.declarations})
        told += [f"'{topic}' has {count} types" for topic, count in several.items() if count > 1]
        promised, found = self._folder.message_count, sum(topic.count for topic in self.topics.values())
        found += self._skipped.total()
        if promised is not None and promised > found:
            told.append(f"metadata.yaml lists {promised} messages, {found} can be read: {promised - found} are lost")
        return tuple(dict.fromkeys(told))

    def messages(self, topics: Sequence[str] | None = None) -> Iterator[Message]:
        """Yield the messages of these topics, or of all, by their time in the bag, read as they are asked for."""
        names = frozenset(self.topics if topics is None else topics)
        for name in sorted(names - self.topics.keys()):
            raise BagError(missing(self, name))
        self._unreadable.clear()
        return self._merged(names)

    def decode(self, message: Message) -> Any:
        """Return the message's fields, as rosbags' object; arrays are views of `message.data`.

        Raises:
            BagError: Its type is not known here, or its bytes are not one.
        """
        if message.type not in known_types().fielddefs:
            raise BagError(f"Expected a type of ROS 2 or of erfnet_ros on '{message.topic}', got {message.type}.")
        try:
            return known_types().deserialize_cdr(memoryview(message.data), message.type)
        except Exception as error:
            # rosbags raises many types of error on bytes that are no such message.
            raise BagError(
                f"Expected a {message.type} on '{message.topic}' at {message.time_ns / 1e9:.3f} s, "
                f"got {len(message.data)} bytes that cannot be read as one: {error}"
            ) from error

    def has_header(self, type: str) -> bool:
        """Return whether messages of a type begin with a std_msgs/Header; False for a type that no index names."""
        return self._headed.get(type, False)

    def stamp_ns(self, message: Message) -> int | None:
        """Return the stamp in a message's header, nanoseconds, without decoding the rest; None where it has none."""
        if not self.has_header(message.type) or len(message.data) < _STAMP_END:
            return None
        seconds, nanoseconds = struct.unpack_from("<iI" if message.data[1] & 1 else ">iI", message.data, 4)
        return int(seconds) * 1_000_000_000 + int(nanoseconds)

    def fingerprint(self) -> str:
        """Return the SHA-256 of the storage files, one after the other, in hexadecimal; reads all of them."""
        digest = hashlib.sha256()
        for file in self._folder.files:
            with file.open("rb") as stream:
                while block := stream.read(_HASHED_BYTES):
                    digest.update(block)
        return digest.hexdigest()

    def _open(self) -> list[BagFile]:
        paths = list(self._folder.files)
        if any(path.suffix == ".zstd" for path in paths):
            self._temporary = ScratchFolder()
            paths = inflated(paths, self._temporary.path, self._failures)
        files = []
        for path in paths:
            try:
                files.append(BagFile(path))
            except BagError as error:
                # One of many files of a split bag.
                if len(paths) == 1:
                    raise
                self._failures.append(str(error))
        if not files:
            raise BagError(f"Nothing of the bag '{self.path}' can be read: {self._failures[0]}")
        return files

    def _merged(self, topics: frozenset[str]) -> Iterator[Message]:
        runs = [_waiting(file, topics) for file in self._files]
        for time_ns, record in heapq.merge(*runs, key=lambda entry: entry[0]):
            if record is None:
                continue
            declaration, data = record
            whole = _decompressed(data) if data[:4] == _ZSTD_MAGIC else data
            if whole is None:
                self._unreadable[declaration.topic] = self._unreadable.get(declaration.topic, 0) + 1
                continue
            yield Message(declaration.topic, declaration.type, time_ns, whole)


def _decompressed(data: bytes) -> bytes | None:
    """Return a message that rosbag2 has compressed; None where it is damaged or more than `MAX_BYTES`."""
    try:
        if zstandard.frame_content_size(data) > MAX_BYTES:
            return None
        # The second limit counts where the frame does not tell its size.
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=MAX_BYTES)
    except zstandard.ZstdError:
        return None


def _waiting(file: BagFile, topics: frozenset[str]) -> Iterator[tuple[int, tuple[Declaration, bytes] | None]]:
    # The first makes the merge wait with opening a file of a split bag until its time has come.
    yield file.start_ns, None
    for declaration, time_ns, data in file.messages(topics):
        yield time_ns, (declaration, data)


def _topics(counts: Counter[Declaration]) -> dict[str, Topic]:
    """Return the topics by name; one of several types is of that which most of its messages have."""
    topics: dict[str, Topic] = {}
    for declaration, _ in sorted(counts.items(), key=lambda entry: entry[1]):
        total = sum(count for other, count in counts.items() if other.topic == declaration.topic)
        topics[declaration.topic] = Topic(declaration.topic, declaration.type, total)
    return dict(sorted(topics.items()))
