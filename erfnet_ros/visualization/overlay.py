"""Class colors of labels, alone or blended over the image."""

from __future__ import annotations

import cv2
import numpy as np

from erfnet_ros.core.array_types import VOID, Pixels


def color_mask(labels: Pixels, palette: Pixels) -> Pixels:
    """Return the (H, W, 3) uint8 colors of (H, W) class ids, in the channel order of the palette (256, 3)."""
    # OpenCV's look-up copies whole pixels: several times faster than palette[labels].
    return cv2.applyColorMap(labels, palette[:, None, :]).astype(np.uint8, copy=False)


def blend(rgb: Pixels, labels: Pixels, palette: Pixels, alpha: float) -> Pixels:
    """Lay class colors over an image; void pixels show the image as it is.

    Args:
        rgb: (H, W, 3) uint8.
        labels: (H, W) uint8 class ids; 255 is void.
        palette: (256, 3) uint8, RGB.
        alpha: Weight of the colors: 0 is the image, 1 the colors.
    """
    mixed = cv2.addWeighted(rgb, 1 - alpha, color_mask(labels, palette), alpha, 0)
    void = cv2.inRange(labels, VOID, VOID)
    if cv2.countNonZero(void):
        cv2.copyTo(rgb, void, mixed)
    return mixed.astype(np.uint8, copy=False)
