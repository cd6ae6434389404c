"""Overlay: class colors in RGB over the image."""

from __future__ import annotations

import numpy as np

from erfnet_ros.core.array_types import VOID
from erfnet_ros.visualization.overlay import blend, color_mask

PALETTE = np.zeros((256, 3), np.uint8)
PALETTE[0], PALETTE[1] = (255, 0, 0), (0, 100, 200)
LABELS = np.array([[0, 1], [VOID, 0]], np.uint8)
IMAGE = np.full((2, 2, 3), 100, np.uint8)


def test_large_masks_of_all_ids_are_colored_exactly() -> None:
    random = np.random.default_rng(0)
    palette = random.integers(0, 256, (256, 3), np.uint8)
    labels = random.integers(0, 256, (97, 211), np.uint8)
    np.testing.assert_array_equal(color_mask(labels, palette), palette[labels])


def test_alpha_weighs_the_colors_and_void_shows_the_image() -> None:
    mixed = blend(IMAGE, LABELS, PALETTE, 0.25)
    np.testing.assert_array_equal(mixed[0, 0], [139, 75, 75])
    np.testing.assert_array_equal(mixed[1, 0], IMAGE[1, 0])


def test_alpha_zero_is_the_image_and_one_the_colors() -> None:
    np.testing.assert_array_equal(blend(IMAGE, LABELS, PALETTE, 0.0), IMAGE)
    known = LABELS != VOID
    np.testing.assert_array_equal(blend(IMAGE, LABELS, PALETTE, 1.0)[known], PALETTE[LABELS][known])


def test_the_input_image_is_left_alone() -> None:
    image = IMAGE.copy()
    blend(image, LABELS, PALETTE, 0.5)
    np.testing.assert_array_equal(image, IMAGE)
