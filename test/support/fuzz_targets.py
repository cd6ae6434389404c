"""Fuzz targets: what reads files of strangers, each with small real files to start from.

A target takes any bytes and may raise ErfnetError; whatever else it raises, or takes gigabytes or minutes for, is a
fault.
"""

from __future__ import annotations

import io
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import torch
from support.bag_samples import (
    chunk,
    end,
    message,
    schema_and_channel,
    serialized,
    start,
    storage_file,
    time_of,
    write_bag,
)

from erfnet_ros.core.class_set import CAMVID, ClassSet
from erfnet_ros.core.errors import ErfnetError
from erfnet_ros.core.image_decoding import compressed_to_array
from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.models import checkpoint
from erfnet_ros.models.erfnet import ACTIVATIONS


@dataclass(frozen=True)
class Target:
    """What is fuzzed: a reader of bytes, and the real files to start from."""

    read: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]

    def try_one(self, content: bytes) -> None:
        """Read; ErfnetError is right."""
        with suppress(ErfnetError):
            self.read(content)

    def damaged(self, draw: random.Random) -> Iterator[bytes]:
        """Yield real files of which a few bytes are changed, cut out, doubled, or made a large number, without end."""
        seeds = self.seeds()
        while True:
            content = bytearray(draw.choice(seeds))
            for _ in range(draw.randint(1, 6)):
                place, length = draw.randrange(len(content) + 1), draw.randint(1, 8)
                number = draw.choice((0, 1, 2**31 - 1, 2**32 - 1, 2**63)).to_bytes(8, draw.choice(("big", "little")))
                doubled = content[place : place + length] * 2
                content[place : place + length] = draw.choice((draw.randbytes(length), b"", doubled, number))
            yield bytes(content[: draw.randrange(len(content) + 1)] if draw.random() < 0.2 else content)


@contextmanager
def _file(content: bytes, name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        yield path


_FORMATS = ("jpeg", "png", "bayer_rggb8; png", "mono16; png", "webp", "tiff")


def _read_image(content: bytes) -> None:
    compressed_to_array(
        SimpleNamespace(format=_FORMATS[len(content) % len(_FORMATS)], data=np.frombuffer(content, np.uint8))
    )


def _images() -> list[bytes]:
    rgb = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    return [cv2.imencode(f".{kind}", rgb)[1].tobytes() for kind in ("png", "jpg", "tiff", "webp", "bmp")]


def _read_classes(content: bytes) -> None:
    with _file(content, "classes.yaml") as path:
        ClassSet.from_yaml(path).to_yaml()


def _classes() -> list[bytes]:
    return [CAMVID.to_yaml().encode(), b"name: own\nclasses: &a [{name: x, color: [1, 2, 3]}, *a]\n", b"[[[[{{{{"]


def _read_checkpoint(content: bytes) -> None:
    is_pickle = content[:2] == b"PK" or content[:1] == b"\x80"
    with _file(content, "weights.pth" if is_pickle else "weights.safetensors") as path:
        checkpoint.unpickled_tensors(path) if is_pickle else checkpoint.load(path)


def _checkpoints() -> list[bytes]:
    """Return pickles and a safetensors file, whose tensors are too few for a network: it would be megabytes."""
    tensors, found = {"encoder.initial_block.conv.weight": torch.zeros(2, 3)}, []
    for zipped in (True, False):
        torch.save({"state_dict": tensors}, file := io.BytesIO(), _use_new_zipfile_serialization=zipped)
        found.append(file.getvalue())
    calibration = checkpoint.Calibration(dict.fromkeys(ACTIVATIONS, 1.0), 0.99)
    whole = checkpoint.Checkpoint(CAMVID, tensors, (96, 72), "none", None, "MIT", calibration=calibration)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save(whole, Path(folder) / "weights.safetensors")
        return [*found, (Path(folder) / "weights.safetensors").read_bytes()]


def _read_bag(content: bytes) -> None:
    with _file(content, "bag.db3" if content[:4] == b"SQLi" else "bag.mcap") as path, BagReader(path) as reader:
        for message in reader.messages():
            with suppress(ErfnetError):
                reader.stamp_ns(message)
                reader.decode(message)
        assert isinstance(reader.faults, tuple)


def _bags() -> list[bytes]:
    kinds = (("mcap", "none"), ("mcap", "zstd"), ("sqlite3", "none"))
    messages = b"".join(message(time_of(index), serialized(index)) for index in range(2))
    compressed = chunk(schema_and_channel() + messages, [time_of(0), time_of(1)], "lz4")
    with tempfile.TemporaryDirectory() as folder:
        bags = [write_bag(Path(folder) / f"{n}", 2, *kind) for n, kind in enumerate(kinds)]
        return [*(storage_file(bag).read_bytes() for bag in bags), start() + compressed + end()]


TARGETS = {
    "images": Target(_read_image, _images),
    "classes": Target(_read_classes, _classes),
    "checkpoints": Target(_read_checkpoint, _checkpoints),
    "bags": Target(_read_bag, _bags),
}
