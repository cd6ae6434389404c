"""Compressed images to RGB arrays: JPEG, PNG and a few others that OpenCV decodes, in messages and files."""

from __future__ import annotations

from io import BytesIO
from typing import Any, Protocol

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import ImageError
from erfnet_ros.core.image import BAYER, MAX_PIXELS, check_size, debayer, scale_to_8_bit
from erfnet_ros.core.printable_text import printable

_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "PPM")
"""Pillow's names of what is decoded. OpenCV's rarely used decoders (JPEG 2000, EXR, ...) need not see foreign files."""

_VIDEO = "a video whose frames need those before; decode it first, for example with ffmpeg_image_transport"
_DEPTH = "a depth image; choose the topic of the color image"
_REFUSED = {
    "compresseddepth": _DEPTH,
    "16uc1": _DEPTH,
    "32fc1": _DEPTH,
    **dict.fromkeys(("h264", "h265", "hevc", "av1", "vp9", "theora", "ffmpeg"), _VIDEO),
    **dict.fromkeys(("avif", "jxl"), "which is not decoded here; set the camera driver to jpeg or png"),
}
"""What a `format` is that cannot be segmented, by a word in it."""


class CompressedImageMessage(Protocol):
    """The fields of sensor_msgs/CompressedImage that are read here; `data` is anything with the buffer protocol."""

    format: str
    data: Any


def decode(data: Pixels, flags: int) -> Pixels | None:
    """Decode (N,) uint8 as cv2.imdecode does, or return None, after a look at the header: a small file can be huge.

    Raises:
        ImageError: The image has more than 4096 x 4096 pixels.
    """
    try:
        with Image.open(BytesIO(data.data), formats=_FORMATS) as image:
            width, height = image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"Expected an image of at most {MAX_PIXELS / 1e6:.1f} megapixels, got: {error}") from error
    except (UnidentifiedImageError, OSError, ValueError):
        return None
    if width * height > MAX_PIXELS:
        check_size(width, height)
    try:
        return cv2.imdecode(data, flags)  # type: ignore[return-value]
    except cv2.error:
        return None


def decode_rgb(data: Pixels, flags: int = 0, encoding: str = "") -> Pixels | None:
    """Decode (N,) uint8 as (H, W, 3) uint8 RGB, or return None; 16-bit pixels are scaled by the image's own range.

    Args:
        data: The file's bytes.
        flags: Further flags of cv2.imdecode.
        encoding: Of the image before it was compressed, such as bayer_rggb8: a mosaic is converted to colors.

    Raises:
        ImageError: As `decode`.
    """
    mosaic = encoding.removesuffix("16").removesuffix("8") in BAYER
    pixels = decode(data, flags | (cv2.IMREAD_UNCHANGED if mosaic else cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH))
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        return None
    if pixels.dtype == np.uint16:
        pixels = scale_to_8_bit(pixels.astype(np.uint16, copy=False))
    if pixels.ndim == 2:
        return debayer(pixels, encoding)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels).astype(np.uint8, copy=False)


def can_be_decoded(format: str) -> bool:
    """Return whether the `format` of a CompressedImage is that of a single color image."""
    return not _reason_to_refuse(format)


def compressed_to_array(message: CompressedImageMessage) -> Pixels:
    """Decode a sensor_msgs/CompressedImage to (H, W, 3) uint8 RGB, as stored: an EXIF orientation is not applied.

    An ImageError is raised for what is no such image, or has a size that cannot be segmented.
    """
    reason, shown = _reason_to_refuse(message.format), printable(message.format)
    if reason:
        raise ImageError(f"Expected a JPEG or PNG in the compressed image, got format '{shown}', {reason}.")
    data = np.frombuffer(message.data, np.uint8)
    encoding = message.format.partition(";")[0].strip()
    image = decode_rgb(data, cv2.IMREAD_IGNORE_ORIENTATION, encoding)
    if image is None:
        raise ImageError(
            f"Expected a JPEG or PNG in the compressed image, got {len(data)} bytes of format '{shown}' "
            "that cannot be decoded; is it a truncated frame, or a depth image?"
        )
    check_size(image.shape[1], image.shape[0])
    return image


def _reason_to_refuse(format: str) -> str:
    return next((reason for word, reason in _REFUSED.items() if word in format.lower()), "")
