"""The records of mcap files: what is needed to find one's way in a file without an index, or with a damaged one.

Source: the MCAP format specification, https://mcap.dev/spec.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lz4.frame  # type: ignore[import-untyped]
import zstandard

from erfnet_ros.core.errors import BagError

MAGIC = b"\x89MCAP0\r\n"
"""What a file begins and ends with."""

FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, CHUNK_INDEX, STATISTICS, DATA_END = 2, 3, 4, 5, 6, 8, 11, 15
"""Opcodes of records."""

PREFIX = struct.Struct("<BQ")
"""A record's opcode and length."""

CHUNK_HEAD = struct.Struct("<QQQI")
"""Start and end (ns), uncompressed size, CRC-32 (0: none)."""

MESSAGE_HEAD = struct.Struct("<HIQQ")
"""Channel, sequence number, log time and publish time (ns)."""

MAX_BYTES = 1 << 28
"""Most bytes of a chunk or a message when decompressed: a few kilobytes can be made to fill the memory."""

_CHUNK_INDEX_HEAD = struct.Struct("<QQQQI")

_FOOTER_BYTES = PREFIX.size + 20 + len(MAGIC)
"""Length of the footer's record with the file's last bytes."""


@dataclass(frozen=True)
class Index:
    """What the index at the end of a file says.

    Attributes:
        chunks: Where the chunks begin.
        complete: Whether it knows the channels and how many messages there are, and of each chunk where they lie in it;
            all of that may be left out.
    """

    chunks: tuple[int, ...]
    complete: bool


def read_index(path: Path) -> Index:
    """Return the index of an mcap file; that of a file without one has no chunks."""
    chunks, opcodes, complete = [], set(), True
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _FOOTER_BYTES))
        footer = file.read()
        if not footer.endswith(MAGIC) or footer[0] != FOOTER or len(footer) < _FOOTER_BYTES:
            return Index((), False)
        position = int.from_bytes(footer[PREFIX.size : PREFIX.size + 8], "little")
        while 0 < position < size - _FOOTER_BYTES:
            file.seek(position)
            opcode, length = PREFIX.unpack(file.read(PREFIX.size))
            opcodes.add(opcode)
            if opcode == CHUNK_INDEX:
                # Start, end, offset and length of the chunk, then the bytes of where each channel's messages lie.
                _, _, offset, _, mapped = _CHUNK_INDEX_HEAD.unpack(file.read(_CHUNK_INDEX_HEAD.size))
                chunks.append(offset)
                complete &= mapped > 0
            position += PREFIX.size + length
    return Index(tuple(chunks), complete and {CHANNEL, CHUNK_INDEX, STATISTICS} <= opcodes)


def chunk_compression(path: Path) -> str:
    """Return how the first chunk of an mcap file is compressed, such as "zstd (chunks)"; "none" where it is not."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(len(MAGIC))
        while len(prefix := file.read(PREFIX.size)) == PREFIX.size:
            opcode, length = PREFIX.unpack(prefix)
            if opcode == CHUNK:
                name = Fields(memoryview(file.read(min(length, 64)))[CHUNK_HEAD.size :]).text()
                return f"{name} (chunks)" if name else "none"
            if opcode in (0, DATA_END, FOOTER) or length > size:
                break
            file.seek(length, os.SEEK_CUR)
    return "none"


class Fields:
    """The fields of a record, one after the other; one that is cut off reads as 0 or ""."""

    def __init__(self, record: memoryview) -> None:
        self._rest = record

    def number(self) -> int:
        """Return the next two bytes."""
        return int.from_bytes(self._take(2), "little")

    def text(self) -> str:
        """Return the next text, which has its length before it."""
        return str(self._take(int.from_bytes(self._take(4), "little")), "utf-8", "replace")

    def _take(self, size: int) -> memoryview:
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


def split(content: bytes) -> Iterator[tuple[int, int, memoryview]]:
    """Yield opcode, position and content of each whole record."""
    view, position = memoryview(content), 0
    while position + PREFIX.size <= len(view):
        opcode, length = PREFIX.unpack_from(view, position)
        begin = position + PREFIX.size
        if begin + length > len(view):
            return
        yield opcode, position, view[begin : begin + length]
        position = begin + length


def inflated(stored: bytes, size: int, compression: str) -> bytes:
    """Return as much as can be decompressed, and not more than `size` bytes.

    Raises:
        BagError: Damaged, or compressed in a way that is not known, or `size` is more than `MAX_BYTES`.
    """
    if size > MAX_BYTES:
        raise BagError(f"expected at most {MAX_BYTES} bytes in it, got {size}")
    try:
        if compression == "":
            return stored
        if compression == "zstd":
            with zstandard.ZstdDecompressor().stream_reader(stored, read_across_frames=True) as stream:
                return stream.read(size)
        if compression == "lz4":
            return bytes(lz4.frame.LZ4FrameDecompressor().decompress(stored, size))
    except (zstandard.ZstdError, RuntimeError, ValueError, OverflowError, MemoryError) as error:
        raise BagError(f"it cannot be decompressed ({error})") from error
    raise BagError(f"its compression '{compression}' is not known")


def chunk_content(chunk: bytes, cut: bool) -> bytes:
    """Return the records in a chunk's record as they are without compression.

    Args:
        chunk: The record, without its prefix.
        cut: Whether its end is missing: what can be decompressed of it is returned, and not checked.

    Raises:
        BagError: The chunk does not decompress to what it says it is, or in a way that is not known.
    """
    if len(chunk) < CHUNK_HEAD.size + 4:
        raise BagError("its head is cut off")
    _, _, size, checksum = CHUNK_HEAD.unpack_from(chunk)
    compression = Fields(memoryview(chunk)[CHUNK_HEAD.size :]).text()
    begin = CHUNK_HEAD.size + 4 + len(compression.encode()) + 8
    stored = int.from_bytes(chunk[begin - 8 : begin], "little")
    records = inflated(chunk[begin : begin + stored], size, compression)
    if cut:
        return records
    if len(records) != size:
        raise BagError(f"expected {size} bytes in it, got {len(records)}")
    if checksum and zlib.crc32(records) != checksum:
        raise BagError("its checksum is wrong")
    return records
