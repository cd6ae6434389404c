"""Image files: natural order, and colors, ids or palette indices as the file holds them."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from support.small_datasets import write

from erfnet_ros.core.class_set import CAMVID, ClassSet
from erfnet_ros.core.errors import SourceError
from erfnet_ros.data.image_files import images_in, read_labels, read_rgb
from erfnet_ros.data.label_map import LabelMap

IDS = np.arange(12, dtype=np.uint8).reshape(3, 4)
COLORS = np.stack([IDS, 255 - IDS, 7 * IDS], axis=2).astype(np.uint8)


def test_images_are_listed_as_people_count_and_nothing_else_is(tmp_path: Path) -> None:
    for name in ("f10.png", "f2.PNG", "f1.jpg", ".hidden.png"):
        (tmp_path / name).write_bytes(b"-")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in images_in(tmp_path)] == ["f1.jpg", "f2.PNG", "f10.png"]


def test_a_folder_that_is_missing_or_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere', got: No such file"):
        images_in(tmp_path / "nowhere")
    with pytest.raises(SourceError, match=r"Expected images .*found none"):
        images_in(tmp_path)


def test_images_and_labels_are_read_as_they_were_written(tmp_path: Path) -> None:
    ids, colors = write(tmp_path / "ids.png", IDS), write(tmp_path / "colors.png", COLORS)
    np.testing.assert_array_equal(read_rgb(colors), COLORS)
    np.testing.assert_array_equal(read_labels(ids, LabelMap.of(CAMVID)), np.where(IDS == 11, 255, IDS))


PALETTE = {"colors": (0, 0, 0, 10, 20, 30, 200, 0, 0, 0, 90, 0), "others": (0, 0, 0, 9, 9, 0, 8, 8, 0, 7, 7, 0)}
SMALL = np.array([[0, 1, 2, 3]] * 3, np.uint8)
BY_COLOR = np.array([[[10, 20, 30], [200, 0, 0], [0, 90, 0], [0, 0, 0]]] * 3, np.uint8)
THREE = ClassSet("three", ("floor", "car", "tree"), ((10, 20, 30), (200, 0, 0), (0, 90, 0)), 3)
BY_ID, BY_PALETTE = [0, 1, 2, 255], [255, 0, 1, 2]
COLORLESS = LabelMap(THREE, LabelMap.of(THREE).ids, {})


def png(depth: int, row: bytes) -> bytes:
    """Return a gray PNG file of 4 x 3 pixels with few bits each, which Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 4, 3, depth, 0, 0, 0, 0)
    data = zlib.compress((b"\0" + row) * 3)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def palette_image(colors: tuple[int, ...]) -> Image.Image:
    image = Image.frombytes("P", (4, 3), SMALL.tobytes())
    image.putpalette(colors)
    return image


def with_alpha(pixels: np.ndarray, alpha: int) -> np.ndarray:
    return np.dstack([pixels, np.full(SMALL.shape, alpha, np.uint8)])


@pytest.mark.parametrize(
    ("name", "content", "label_map", "expected"),
    [
        ("1 bit.png", png(1, b"\x50"), LabelMap.of(THREE), [0, 1, 0, 1]),
        ("2 bits.png", png(2, b"\x1b"), LabelMap.of(THREE), BY_ID),
        ("4 bits.png", png(4, b"\x01\x23"), LabelMap.of(THREE), BY_ID),
        ("1 bit.tif", Image.fromarray(SMALL % 2 == 1), LabelMap.of(THREE), [0, 1, 0, 1]),
        ("16 bits.png", SMALL.astype(np.uint16), LabelMap.of(THREE), BY_ID),
        ("gray.TIF", SMALL, LabelMap.of(THREE), BY_ID),
        ("gray and alpha.png", with_alpha(SMALL, 255), LabelMap.of(THREE), BY_ID),
        ("gray as RGB.png", np.dstack([SMALL] * 3), LabelMap.of(THREE), BY_ID),
        ("gray as RGBA.png", with_alpha(np.dstack([SMALL] * 3), 7), LabelMap.of(THREE), BY_ID),
        ("palette by color.png", palette_image(PALETTE["colors"]), LabelMap.of(THREE), BY_PALETTE),
        ("palette by index.png", palette_image(PALETTE["others"]), COLORLESS, BY_ID),
        ("gray palette.png", Image.fromarray(SMALL).convert("P"), LabelMap.of(THREE), BY_ID),
        ("colors.png", BY_COLOR, LabelMap.of(THREE), BY_ID),
        ("colors and alpha.png", with_alpha(BY_COLOR, 255), LabelMap.of(THREE), BY_ID),
        ("colors.bmp", BY_COLOR, LabelMap.of(THREE), BY_ID),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_label_files_are_read_as_tools_write_them(
    tmp_path: Path, name: str, content: bytes | np.ndarray | Image.Image, label_map: LabelMap, expected: list[int]
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        (content if isinstance(content, Image.Image) else Image.fromarray(content)).save(path)
    assert read_labels(path, label_map).tolist() == [expected] * 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (palette_image(PALETTE["others"]), r"got \(7, 7, 0\) \(3 pixels.*whose palette means nothing"),
        (with_alpha(BY_COLOR, 255) - np.eye(3, 4, dtype=np.uint8)[..., None], "got an alpha channel"),
        (np.dstack([SMALL.astype(np.uint16)] * 3), "colors of uint16"),
    ],
    ids=["palette of other colors", "alpha that varies", "colors of 16 bits"],
)
def test_what_cannot_be_meant_is_refused_with_the_remedy(tmp_path: Path, content, words: str) -> None:
    path = tmp_path / "labels.png"
    content.save(path) if isinstance(content, Image.Image) else cv2.imwrite(str(path), content)
    with pytest.raises(SourceError, match=rf"Cannot use the labels '.*labels\.png': .*{words}"):
        read_labels(path, LabelMap.of(replace(THREE, void=255)))
