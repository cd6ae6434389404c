"""Layouts of RGB images, and images that cannot be segmented."""

from __future__ import annotations

import numpy as np
import pytest

from erfnet_ros.core.errors import ImageError
from erfnet_ros.core.image import check_image, contiguous_rgb, copy_rgb

RGB = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)


def test_a_contiguous_image_is_not_copied() -> None:
    assert contiguous_rgb(RGB) is RGB


@pytest.mark.parametrize(
    "view",
    [
        RGB[..., ::-1].copy()[..., ::-1],
        np.pad(RGB, ((0, 0), (0, 3), (0, 0)))[:, :11],
        np.dstack([RGB, RGB[..., :1]])[..., :3],
        np.dstack([RGB[..., ::-1], RGB[..., :1]])[..., 2::-1],
        np.broadcast_to(RGB[..., :1], RGB.shape),
        RGB[::-1, ::-1],
    ],
    ids=["bgr", "padded rows", "rgba", "bgra", "mono", "rotated"],
)
def test_every_view_becomes_one_block_of_the_same_pixels(view: np.ndarray) -> None:
    block = contiguous_rgb(view)
    assert block.flags.c_contiguous
    np.testing.assert_array_equal(block, view)
    # As a GPU engine fills its pinned memory, without a block in between.
    given = np.zeros(RGB.shape, np.uint8)
    copy_rgb(view, given)
    np.testing.assert_array_equal(given, view)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8), np.uint8), r"\(H, W, 3\) uint8 RGB image, got shape \(8, 8\) of uint8"),
        (np.zeros((8, 8, 3), np.float32), "got shape .* of float32"),
        (np.zeros((8, 8, 4), np.uint8), r"got shape \(8, 8, 4\)"),
        (np.zeros((0, 0, 3), np.uint8), "at least 8x8 pixels, got 0x0"),
        (np.zeros((1, 1, 3), np.uint8), "at least 8x8 pixels, got 1x1"),
        (np.zeros((100, 7, 3), np.uint8), "at least 8x8 pixels, got 7x100"),
        (np.zeros((7, 100, 3), np.uint8), "at least 8x8 pixels, got 100x7"),
        (np.broadcast_to(np.uint8(0), (6000, 8000, 3)), "at most 16.8 megapixels, got 8000x6000"),
        ([[0]], "Expected a NumPy array, got list"),
    ],
)
def test_an_unusable_image_is_refused_with_its_value(image: np.ndarray, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        check_image(image)
