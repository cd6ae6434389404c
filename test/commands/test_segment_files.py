"""`erfnet segment`: outputs of each image, files that are never replaced, and bad files."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from erfnet_ros.commands.segment_files import KINDS, Task, find_images, segment_files
from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import OutputError, SourceError
from erfnet_ros.data.image_files import read_rgb
from erfnet_ros.inference.segmenter import Segmenter
from erfnet_ros.models.checkpoint import Checkpoint
from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.visualization.overlay import blend

CLASSES = ClassSet("three", ("a", "b", "c"), ((250, 0, 0), (0, 250, 0), (0, 0, 250)))
RGB = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(Checkpoint(CLASSES, ERFNet(3).state_dict(), (32, 24), "noise", None, "none"), precision="fp32")


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), RGB[..., ::-1])
    return path


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_outputs_hold_what_the_segmenter_says(segmenter: Segmenter, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    assert segment_files([Task(picture(tmp_path / "a.png"), "a")], segmenter, out, threshold=0.0, alpha=0.25) == []
    expected = segmenter(RGB)
    written = {kind: cv2.imread(str(out / f"a_{kind}.png"), cv2.IMREAD_UNCHANGED) for kind in KINDS}
    palette = CLASSES.palette()
    np.testing.assert_array_equal(written["mask"], expected.labels)
    np.testing.assert_array_equal(written["confidence"], expected.confidence)
    np.testing.assert_array_equal(written["color"][..., ::-1], palette[expected.labels])
    np.testing.assert_array_equal(written["overlay"][..., ::-1], blend(RGB, expected.labels, palette, 0.25))
    assert ClassSet.from_yaml(out / "classes.yaml") == CLASSES
    assert len(list(out.iterdir())) == len(KINDS) + 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expected an image in '.*bad.png', got 0 bytes"),
        (b"no picture", "got 10 bytes that cannot be decoded"),
        (png_header(40_000, 40_000), "Cannot use '.*bad.png': Expected an image of at most 16.8 megapixels"),
        (png_header(4, 4), "that cannot be decoded"),
    ],
    ids=["empty", "text", "huge", "cut"],
)
def test_a_bad_image_is_reported_and_the_next_is_done(
    segmenter: Segmenter, tmp_path: Path, content: bytes, reason: str
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(content)
    tasks = find_images([bad, picture(tmp_path / "good.png")])
    faults = segment_files(tasks, segmenter, tmp_path / "out", threshold=0.0, alpha=0.5)
    assert len(faults) == 1
    assert re.search(reason, faults[0])
    assert (tmp_path / "out" / "good_overlay.png").exists()
    assert not (tmp_path / "out" / "bad_mask.png").exists()


def test_gray_and_transparent_images_are_read_as_rgb(tmp_path: Path) -> None:
    gray = RGB[..., 0]
    cv2.imwrite(str(tmp_path / "gray.png"), gray)
    cv2.imwrite(str(tmp_path / "clear.png"), np.dstack([RGB[..., ::-1], gray]))
    np.testing.assert_array_equal(read_rgb(tmp_path / "gray.png"), np.dstack([gray] * 3))
    np.testing.assert_array_equal(read_rgb(tmp_path / "clear.png"), RGB)


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["left/0.png", "right/0.png", "1.png"], ["left_0", "right_0", "1"]),
        (["x/y/0.png", "z/y/0.png"], ["y_0", "y_0-2"]),
        (["left/0.png", "left/0.jpg"], ["left_0", "left_0-2"]),
        (["left/0.png", "right/0.png", "left_0.png"], ["left_0", "right_0", "left_0-2"]),
        (["a/f-1.png", "b/a/f-1.png", "c/a/f-1.png"], ["a_f-1", "a_f-1-2", "a_f-1-3"]),
    ],
)
def test_outputs_never_share_a_name(tmp_path: Path, files: list[str], names: list[str]) -> None:
    """Two cameras that number their frames alike must not overwrite each other's masks."""
    assert [task.name for task in find_images([picture(tmp_path / file) for file in files])] == names


def test_a_file_that_is_named_twice_is_done_once(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    assert find_images([path, tmp_path, path]) == [Task(path, "a")]


def test_an_output_never_replaces_an_input(segmenter: Segmenter, tmp_path: Path) -> None:
    """Segmenting a folder into itself twice would make masks of masks and lose images called NAME_mask."""
    picture(tmp_path / "a.png")
    mask = picture(tmp_path / "a_mask.png")
    before = mask.read_bytes()
    with pytest.raises(SourceError, match=r"replace the image .*a_mask\.png; choose another folder with -o"):
        segment_files(find_images([tmp_path]), segmenter, tmp_path, threshold=0.0, alpha=0.5)
    assert mask.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


def test_an_output_folder_that_cannot_be_made_is_said(segmenter: Segmenter, tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    with pytest.raises(SourceError, match="choose another folder with -o"):
        segment_files(find_images([path]), segmenter, path, threshold=0.0, alpha=0.5)
    (tmp_path / "out" / "a_mask.png").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"Cannot write .*a_mask\.png': Is a directory; .* choose another"):
        segment_files(find_images([path]), segmenter, tmp_path / "out", threshold=0.0, alpha=0.5)


def test_class_names_of_any_language_are_written(tmp_path: Path) -> None:
    classes = ClassSet("straße", ("道路", "Gehweg"), ((0, 0, 0), (1, 1, 1)))
    torch.manual_seed(0)
    own = Segmenter(Checkpoint(classes, ERFNet(2).state_dict(), (32, 24), "", None, ""), precision="fp32")
    segment_files([], own, tmp_path / "out", threshold=0.0, alpha=0.5)
    assert yaml.safe_load((tmp_path / "out" / "classes.yaml").read_text(encoding="utf-8"))["name"] == "straße"
    assert ClassSet.from_yaml(tmp_path / "out" / "classes.yaml") == classes
