"""Images as data URIs."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import ImageError
from erfnet_ros.core.image_decoding import decode_rgb

_JPEG_QUALITY = 88


def png_uri(rgb: Pixels) -> str:
    """Return an (H, W, 3) uint8 RGB mask or drawing as a data URI, without loss."""
    return _uri("png", rgb, [cv2.IMWRITE_PNG_COMPRESSION, 9])


def file_uri(path: Path) -> str:
    """Return a PNG or JPEG file as a data URI: a PNG that holds a photograph becomes a JPEG where that is smaller.

    Raises:
        ImageError: The file is missing, or no such picture.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImageError(f"Cannot read the picture '{path}': {error.strerror}; is the folder complete?") from error
    rgb = decode_rgb(np.frombuffer(content, np.uint8))
    if rgb is None:
        raise ImageError(f"Expected a PNG or JPEG picture in '{path}', got {len(content)} bytes of something else.")
    if content.startswith(b"\xff\xd8"):
        return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
    jpeg = _uri("jpeg", rgb, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return min(jpeg, png_uri(rgb), key=len)


def _uri(kind: str, rgb: Pixels, options: list[int]) -> str:
    ok, data = cv2.imencode(f".{kind}", np.ascontiguousarray(rgb[..., ::-1]), options)
    if not ok:
        raise ImageError(f"Expected an image that {kind.upper()} can hold, got shape {rgb.shape} of {rgb.dtype}.")
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode()}"
