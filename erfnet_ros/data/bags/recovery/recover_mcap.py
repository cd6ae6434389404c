"""Recovery of an mcap file without an index, or with a damaged one, read from its start."""

from __future__ import annotations

import heapq
import os
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from erfnet_ros.core.errors import BagError
from erfnet_ros.data.bags.message_types import Declaration, full_type
from erfnet_ros.data.bags.recovery.mcap_records import (
    CHANNEL,
    CHUNK,
    CHUNK_HEAD,
    DATA_END,
    FOOTER,
    MAGIC,
    MESSAGE,
    MESSAGE_HEAD,
    PREFIX,
    SCHEMA,
    Fields,
    chunk_content,
    read_index,
    split,
)

_RUN_BYTES = 1 << 20
"""Messages outside chunks are read together up to about this size."""

Record = tuple[Declaration, int, bytes]
"""A message's topic, its time in the bag (ns) and its serialized bytes."""


@dataclass(frozen=True)
class _Block:
    """A chunk, or a run of messages outside chunks, at byte `offset`; of it `length` bytes are there."""

    start_ns: int
    offset: int
    length: int
    chunked: bool
    cut: bool

    def content(self, file: BinaryIO) -> bytes:
        """Return its records; BagError where it is a chunk that cannot be read."""
        file.seek(self.offset)
        content = file.read(self.length)
        return chunk_content(content, self.cut) if self.chunked else content

    def precedes(self, other: _Block) -> bool:
        """Return whether the other begins where this ends."""
        return self.offset + self.length == other.offset


class RecoveredMcap:
    """An mcap file, scanned record by record; its attributes are those of `BagFile`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._schemas: dict[int, tuple[str, str]] = {}
        self._channels: dict[int, Declaration] = {}
        self._blocks: list[_Block] = []
        self._foreign: dict[int, tuple[str, str]] = {}
        self.faults: list[str] = []
        self._times: list[int] = []
        self._indexed = read_index(path).chunks
        counts: Counter[int] = Counter()
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise BagError(f"Expected an mcap file, got '{path}', which does not start like one; check the path.")
            self._scan(file, os.fstat(file.fileno()).st_size, counts)
        self.skipped = Counter({topic: counts[key] for key, topic in self._foreign.items()})
        self.declarations = {declaration: counts[key] for key, declaration in self._channels.items()}
        self.start_ns, self.end_ns = min(self._times, default=0), max(self._times, default=0)

    def messages(self, topics: Container[str]) -> Iterator[Record]:
        """Yield the messages of these topics by time, one chunk in memory at a time where chunks do not overlap."""
        with self._path.open("rb") as file:
            runs = [self._timed(file, block, topics) for block in self._blocks]
            for time_ns, _, position, found in heapq.merge(*runs):
                if position >= 0 and found is not None:
                    yield found[0], time_ns, found[1]

    def _timed(
        self, file: BinaryIO, block: _Block, topics: Container[str]
    ) -> Iterator[tuple[int, int, int, tuple[Declaration, bytes] | None]]:
        # The first makes the merge wait with reading the chunk until its time has come.
        yield block.start_ns, block.offset, -1, None
        found = sorted(
            ((time_ns, position, channel, data) for channel, time_ns, position, data in self._records(file, block)),
            key=lambda record: record[:2],
        )
        for time_ns, position, channel, data in found:
            declaration = self._channels.get(channel)
            if declaration is not None and declaration.topic in topics:
                yield time_ns, block.offset, position, (declaration, bytes(data))

    def _records(self, file: BinaryIO, block: _Block) -> Iterator[tuple[int, int, int, memoryview]]:
        """Yield channel, time, position and data of a block's messages, which the scan has found readable."""
        for opcode, position, record in split(block.content(file)):
            if opcode == MESSAGE and len(record) >= MESSAGE_HEAD.size:
                channel, _, time_ns, _ = MESSAGE_HEAD.unpack_from(record)
                yield channel, time_ns, position, record[MESSAGE_HEAD.size :]

    def _scan(self, file: BinaryIO, size: int, counts: Counter[int]) -> None:
        """Go from record to record to the end of the data; past damage, to the next chunk that the index knows."""
        position = len(MAGIC)
        while True:
            position, cut = self._scan_whole(file, size, position=position, counts=counts)
            following = [offset for offset in self._indexed if offset > position]
            if cut is None or not following:
                break
            self.faults.append(
                f"{min(following) - position} bytes from byte {position} of '{self._path.name}' on are damaged and lost"
            )
            position = min(following)
        if cut is None:
            self._check_end(file)
        else:
            self._tell_loss(position, size, cut)

    def _scan_whole(self, file: BinaryIO, size: int, *, position: int, counts: Counter[int]) -> tuple[int, int | None]:
        """Go on while records are whole.

        Returns:
            Where the scan ended, and how many bytes of a chunk that is cut off are lost; None at the end of the data.
        """
        while position + PREFIX.size <= size:
            file.seek(position)
            opcode, length = PREFIX.unpack(file.read(PREFIX.size))
            if opcode in (DATA_END, FOOTER):
                return position, None
            begin = position + PREFIX.size
            cut = begin + length > size
            if opcode == 0 or (cut and (opcode != CHUNK or self._indexed)):
                break
            lost = 0
            if opcode == CHUNK:
                lost = self._take_chunk(file, _Block(0, begin, min(length, size - begin), True, cut), counts)
            elif opcode == MESSAGE:
                self._take(_Block(0, position, PREFIX.size + length, False, False), file, counts)
            elif opcode in (SCHEMA, CHANNEL):
                self._learn(opcode, memoryview(file.read(length)))
            position = min(begin + length, size)
            if cut:
                return position, lost
        return position, 0

    def _tell_loss(self, position: int, size: int, lost: int) -> None:
        last = f"the last whole message is at {self._times[-1] / 1e9:.3f} s" if self._times else "no message is whole"
        if position < size:
            loss = f"is damaged at byte {position} of {size}: the {size - position} bytes from there on are lost"
        elif lost:
            loss = f"is cut off at byte {size}: {lost} bytes of its last chunk and the rest of the recording are lost"
        else:
            loss = f"is cut off at byte {size}: the rest of the recording is lost"
        self.faults.append(f"'{self._path.name}' {loss}; {last}")

    def _check_end(self, file: BinaryIO) -> None:
        file.seek(-len(MAGIC), os.SEEK_END)
        if file.read() != MAGIC:
            self.faults.append(f"'{self._path.name}' is cut off or damaged after its last message: no message is lost")

    def _take_chunk(self, file: BinaryIO, block: _Block, counts: Counter[int]) -> int:
        """Take what is whole of a chunk; return how many of its bytes, as they are without compression, are not."""
        try:
            whole = self._take(block, file, counts)
        except BagError as error:
            if block.cut:
                return block.length
            self.faults.append(
                f"the chunk at byte {block.offset} of '{self._path.name}' ({block.length} bytes) is lost: {error}"
            )
            return 0
        file.seek(block.offset)
        _, _, promised, _ = CHUNK_HEAD.unpack(file.read(CHUNK_HEAD.size))
        lost = max(0, int(promised) - whole)
        if lost and not block.cut:
            self.faults.append(
                f"the last {lost} bytes of the chunk at byte {block.offset} of '{self._path.name}' are lost"
            )
        return lost

    def _take(self, block: _Block, file: BinaryIO, counts: Counter[int]) -> int:
        """Note a block, what it declares and how many messages it has; return how many of its bytes are whole."""
        times, whole = [], 0
        for opcode, position, record in split(block.content(file)):
            whole = position + PREFIX.size + len(record)
            if opcode in (SCHEMA, CHANNEL):
                self._learn(opcode, record)
            elif opcode == MESSAGE and len(record) >= MESSAGE_HEAD.size:
                channel, _, time_ns, _ = MESSAGE_HEAD.unpack_from(record)
                counts[channel] += 1
                if channel in self._channels:
                    times.append(time_ns)
        if not times:
            return whole
        self._times = [min(self._times + times), max(self._times + times)]
        last = self._blocks[-1] if self._blocks else None
        if last and not (last.chunked or block.chunked) and last.precedes(block) and last.length < _RUN_BYTES:
            # Blocks of a single message each would make the merge long.
            self._blocks[-1] = replace(
                last, start_ns=min(last.start_ns, *times), length=block.offset + block.length - last.offset
            )
        else:
            self._blocks.append(replace(block, start_ns=min(times)))
        return whole

    def _learn(self, opcode: int, record: memoryview) -> None:
        """Take in a schema or a channel."""
        fields = Fields(record)
        key = fields.number()
        if opcode == SCHEMA:
            name, encoding, definition = fields.text(), fields.text(), fields.text()
            self._schemas[key] = (name, definition if encoding in ("ros2msg", "ros2idl") else "")
            return
        name, definition = self._schemas.get(fields.number(), ("", ""))
        topic, serialization = fields.text(), fields.text()
        if serialization == "cdr":
            self._channels.setdefault(key, Declaration(topic, full_type(name), definition, "", ()))
        else:
            self._foreign[key] = (topic, serialization)
