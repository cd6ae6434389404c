"""Checks and memory layout of images."""

from __future__ import annotations

import numpy as np

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import ImageError

MIN_SIDE = 8
"""Shortest side of an image, pixels: the network's stride."""

MAX_PIXELS = 4096 * 4096
"""Most pixels of an image: the class scores of a larger one would take gigabytes."""


def check_size(width: int, height: int) -> None:
    """Refuse images that are too small or too large to segment.

    Raises:
        ImageError: A side is below 8 pixels or the image has more than 4096 x 4096 pixels.
    """
    if width < MIN_SIDE or height < MIN_SIDE:
        raise ImageError(
            f"Expected an image of at least {MIN_SIDE}x{MIN_SIDE} pixels, got {width}x{height}; check the "
            "camera driver."
        )
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"Expected an image of at most {MAX_PIXELS / 1e6:.1f} megapixels, got {width}x{height} "
            f"({width * height / 1e6:.1f} megapixels); resize it first, for example with image_proc."
        )


def check_image(image: Pixels) -> None:
    """Refuse anything but an (H, W, 3) uint8 array of a usable size.

    Raises:
        ImageError: Type, shape or size are not usable.
    """
    if not isinstance(image, np.ndarray):
        raise ImageError(f"Expected a NumPy array, got {type(image).__name__}.")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f"Expected an (H, W, 3) uint8 RGB image, got shape {image.shape} of {image.dtype}.")
    check_size(image.shape[1], image.shape[0])


def contiguous_rgb(image: Pixels) -> Pixels:
    """Return an (H, W, 3) uint8 view as one C-contiguous block; itself where it already is one.

    A BGR image seen through reversed channels (`bgr[..., ::-1]`) and a mono image seen three times are turned by
    OpenCV, which takes a tenth of NumPy's time for such strides.
    """
    if image.flags.c_contiguous:
        return image
    import cv2

    if image.strides[2] == -1 and image.strides[1] == 3:
        return cv2.cvtColor(image[..., ::-1], cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    if image.strides[2] == 0 and image.strides[1] == 1:
        return cv2.cvtColor(image[..., 0], cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)
    return np.ascontiguousarray(image)
