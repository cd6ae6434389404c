"""Bags for tests: pictures whose every byte is known, and mcap files record by record."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lz4.frame
import numpy as np
import zstandard
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Writer

from erfnet_ros.data.bags.message_types import IMAGE, known_types
from erfnet_ros.data.bags.messages import header, image
from erfnet_ros.data.bags.writer import STORAGES, BagWriter

STORE = known_types()
SIZE = (64, 48)
TOPIC = "/camera/image_raw"
START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000


def picture(index: int, stamp_ns: int | None = None, size: tuple[int, int] = SIZE) -> Any:
    """Return an image message of noise that its index seeds."""
    pixels = np.random.default_rng(index).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return image(pixels, "rgb8", header(time_of(index) if stamp_ns is None else stamp_ns, "camera"))


def serialized(index: int, stamp_ns: int | None = None, size: tuple[int, int] = SIZE) -> bytes:
    return bytes(STORE.serialize_cdr(picture(index, stamp_ns, size), IMAGE))


def time_of(index: int) -> int:
    return START_NS + index * PERIOD_NS


def write_bag(
    path: Path, count: int, storage: str = "mcap", compression: str = "none", split_bytes: int | None = None
) -> Path:
    """Write a bag of `count` images on TOPIC; return the folder."""
    if compression.startswith("zstd-"):
        # One of rosbag2's two modes, which this package only reads.
        recorder = Writer(path, version=8, storage_plugin=STORAGES[storage])
        recorder.set_compression(CompressionMode[compression[5:].upper()], CompressionFormat.ZSTD)
        with recorder:
            connection = recorder.add_connection(TOPIC, IMAGE, typestore=STORE)
            for index in range(count):
                recorder.write(connection, time_of(index), serialized(index))
        return path
    with BagWriter(path, storage, compression=compression, split_bytes=split_bytes) as writer:
        writer.add(TOPIC, IMAGE)
        for index in range(count):
            writer.write(TOPIC, time_of(index), serialized(index))
    return path


def storage_file(bag: Path) -> Path:
    """Return the only storage file of a bag."""
    (file,) = (path for path in bag.iterdir() if path.name != "metadata.yaml")
    return file


MAGIC = b"\x89MCAP0\r\n"


def text(value: str) -> bytes:
    return struct.pack("<I", len(value.encode())) + value.encode()


def record(opcode: int, content: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(content)) + content


def start(profile: str = "ros2") -> bytes:
    return MAGIC + record(0x01, text(profile) + text("test"))


def schema_and_channel(encoding: str = "cdr") -> bytes:
    definition = STORE.generate_msgdef(IMAGE, ros_version=2)[0]
    schema = record(0x03, struct.pack("<H", 1) + text(IMAGE) + text("ros2msg") + text(definition))
    return schema + record(0x04, struct.pack("<HH", 1, 1) + text(TOPIC) + text(encoding) + text(""))


def message(time_ns: int, data: bytes) -> bytes:
    return record(0x05, struct.pack("<HIQQ", 1, 0, time_ns, time_ns) + data)


def chunk(records: bytes, times: Sequence[int], compression: str = "", checksum: int | None = None) -> bytes:
    stored = {"": bytes, "zstd": zstandard.compress, "lz4": lz4.frame.compress}[compression](records)
    crc = zlib.crc32(records) if checksum is None else checksum
    head = struct.pack("<QQQI", min(times), max(times), len(records), crc)
    return record(0x06, head + text(compression) + struct.pack("<Q", len(stored)) + stored)


def end() -> bytes:
    """Return the end of a file without a summary."""
    return record(0x0F, bytes(4)) + record(0x02, bytes(20)) + MAGIC
