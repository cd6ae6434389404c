"""Conversion between sensor_msgs images and arrays."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import ImageError
from erfnet_ros.core.image import to_array
from erfnet_ros.core.image_decoding import compressed_to_array


def to_rgb(message: Image | CompressedImage) -> Pixels:
    """Return a message's image as (H, W, 3) uint8 RGB of any strides, which may be a view of the message's data.

    Raises:
        ImageError: The image cannot be read, or is too small or too large to segment.
    """
    return compressed_to_array(message) if isinstance(message, CompressedImage) else to_array(message)


def from_array(pixels: Pixels | npt.NDArray[np.float32], encoding: str, header: Header) -> Image:
    """Return a message of (H, W) mono8 or 32FC1, or (H, W, 3) rgb8 or bgr8 pixels, which are copied once.

    The header is shared, not copied.
    """
    height, width = pixels.shape[:2]
    message = Image(header=header, height=height, width=width, encoding=encoding)
    message.step = pixels.nbytes // height
    # What is assigned, message classes copy once more, or check byte by byte.
    message.data.frombytes(np.ascontiguousarray(pixels).data.cast("B"))
    return message


def compressed_from_array(pixels: Pixels, header: Header, jpeg_quality: int | None = None) -> CompressedImage:
    """Return (H, W) mono8 or (H, W, 3) RGB pixels as a PNG message, or as JPEG where a quality (1..100) is given.

    The format is that of compressed_image_transport, whose PNG of a gray image names no second encoding.
    """
    color = pixels.ndim == 3
    if jpeg_quality is None:
        codec, options, gray = "png", (cv2.IMWRITE_PNG_COMPRESSION, 1), ""
    else:
        codec, options, gray = "jpeg", (cv2.IMWRITE_JPEG_QUALITY, jpeg_quality), "mono8"
    done, encoded = cv2.imencode(f".{codec}", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if color else pixels, options)
    if not done:
        raise ImageError(f"OpenCV could not encode an image of shape {pixels.shape} as {codec}.")
    message = CompressedImage(header=header)
    message.format = f"{'rgb8' if color else 'mono8'}; {codec} compressed {'bgr8' if color else gray}"
    message.data.frombytes(encoded.data.cast("B"))
    return message
