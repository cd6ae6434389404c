"""Files are listed as people count, and read as what they hold: colors, ids, or the indices of a palette."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.small_datasets import write

from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.errors import SourceError
from erfnet_ros.data.image_files import images_in, read_colors, read_ids, read_rgb, read_truth

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


def test_ids_and_colors_are_read_as_they_were_written(tmp_path: Path) -> None:
    ids, colors = write(tmp_path / "ids.png", IDS), write(tmp_path / "colors.png", COLORS)
    np.testing.assert_array_equal(read_ids(ids), IDS)
    np.testing.assert_array_equal(read_colors(colors), COLORS)
    np.testing.assert_array_equal(read_rgb(colors), COLORS)
    np.testing.assert_array_equal(read_truth(ids, CAMVID), np.where(IDS == 11, 255, IDS))


def test_a_label_file_with_a_palette_gives_its_indices(tmp_path: Path) -> None:
    """Annotation tools write class ids as indices into colors; OpenCV alone would see the colors."""
    image = Image.frombytes("P", (4, 3), IDS.tobytes())
    image.putpalette([value for i in range(256) for value in (i, 255 - i, 128)])
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_ids(tmp_path / "a.png"), IDS)


def test_what_is_neither_ids_nor_colors_is_refused_as_either(tmp_path: Path) -> None:
    deep = write(tmp_path / "deep.png", IDS.astype(np.uint16))
    with pytest.raises(SourceError, match=r"one byte per pixel, the class id, in '.*deep\.png', got uint16"):
        read_ids(deep)
    with pytest.raises(SourceError, match=r"8-bit colors \(R, G, B\) in '.*deep\.png', got uint16 of shape \(3, 4\)"):
        read_colors(deep)
    with pytest.raises(SourceError, match=r"got uint8 of shape \(3, 4, 3\); convert color labels"):
        read_ids(write(tmp_path / "colors.png", COLORS))
