"""Images in messages to arrays, from whatever object has the fields of sensor_msgs Image or CompressedImage.

ROS's own messages and those that rosbags reads out of a bag are alike here; making ROS messages is the business of
`erfnet_ros.ros.node.image_conversion`. Source of encodings, step and layout: sensor_msgs/Image,
sensor_msgs/image_encodings.hpp, sensor_msgs/CompressedImage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import ImageError
from erfnet_ros.core.image import check_size

VIEWED = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
"""Encodings read in place, with their bytes per pixel."""

CONVERTED = {
    **{f"bayer_{order}8": 1 for order in ("rggb", "bggr", "gbrg", "grbg")},
    **{f"bayer_{order}16": 2 for order in ("rggb", "bggr", "gbrg", "grbg")},
    **dict.fromkeys(("uyvy", "yuv422", "yuyv", "yuv422_yuy2", "mono16"), 2),
    **dict.fromkeys(("rgb16", "bgr16"), 6),
    **dict.fromkeys(("rgba16", "bgra16"), 8),
}
"""Encodings that a library converts, with their bytes per pixel."""


class ImageMessage(Protocol):
    """The fields of sensor_msgs/Image that are read here; `data` is anything with the buffer protocol."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


class CompressedImageMessage(Protocol):
    """The fields of sensor_msgs/CompressedImage that are read here; `data` is anything with the buffer protocol."""

    format: str
    data: Any


@dataclass(frozen=True)
class CompactImage:
    """The fields of sensor_msgs/Image that the libraries read, without padding at the row's end."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Pixels


Converter = Callable[[CompactImage], Pixels]
"""Turns an image of a CONVERTED encoding into (H, W, 3) uint8 RGB."""


def convert_with_rosbags(image: CompactImage) -> Pixels:
    """Return the image as (H, W, 3) uint8 RGB, converted by rosbags-image.

    Raises:
        ImageError: rosbags-image is not installed.
    """
    try:
        from rosbags.image import message_to_cvimage
    except ImportError as error:
        raise ImageError(
            f"Encoding '{image.encoding}' needs a conversion, and neither cv_bridge nor rosbags-image can be "
            "used here; "
            "pip install rosbags-image."
        ) from error
    return np.ascontiguousarray(message_to_cvimage(image, "rgb8"), np.uint8)


def to_array(message: ImageMessage, convert: Converter = convert_with_rosbags) -> Pixels:
    """Return the image as (H, W, 3) uint8 RGB.

    8-bit RGB, BGR, RGBA, BGRA and mono are views of the message's data, of whatever strides that takes: they live as
    long as the message, and `erfnet_ros.core.image.contiguous_rgb` lays them out. Alpha is ignored. Rows are `step`
    bytes apart.

    Args:
        message: The message.
        convert: What the encodings of CONVERTED are turned to RGB with.

    Raises:
        ImageError: Unknown encoding, step or data too small, or a size that cannot be segmented.
    """
    width, height, encoding = message.width, message.height, message.encoding
    check_size(width, height)
    pixel_bytes = VIEWED.get(encoding) or CONVERTED.get(encoding)
    if pixel_bytes is None:
        raise ImageError(
            f"Expected an image encoding out of {', '.join((*VIEWED, *CONVERTED))}, got '{encoding}'; "
            "convert it in the camera driver or with image_proc."
        )
    if message.step < width * pixel_bytes:
        raise ImageError(
            f"Expected a step of at least {width * pixel_bytes} bytes for {width} pixels of {encoding}, got "
            f"{message.step}; "
            "the camera driver fills the message wrongly."
        )
    needed = message.step * height
    if len(message.data) < needed:
        raise ImageError(
            f"Expected {needed} bytes of data (step {message.step} x height {height}), got {len(message.data)}; "
            "the camera driver fills the message wrongly."
        )
    data = np.frombuffer(message.data, np.uint8, needed)
    if encoding in VIEWED:
        return _view(data, width, height, message.step, encoding)
    rows = data.reshape(height, message.step)[:, : width * pixel_bytes]
    compact = CompactImage(
        height, width, encoding, message.is_bigendian, width * pixel_bytes, np.ascontiguousarray(rows).reshape(-1)
    )
    return convert(compact)


def _view(data: Pixels, width: int, height: int, step: int, encoding: str) -> Pixels:
    channels = VIEWED[encoding]
    view: Pixels = np.ndarray((height, width, channels), np.uint8, data, 0, (step, channels, 1))
    if encoding == "mono8":
        return np.broadcast_to(view, (height, width, 3))
    return view[..., 2::-1] if encoding.startswith("bgr") else view[..., :3]


def compressed_to_array(message: CompressedImageMessage) -> Pixels:
    """Decode a JPEG or PNG to (H, W, 3) uint8 RGB, as stored: an EXIF orientation is not applied.

    Raises:
        ImageError: Not an image that OpenCV can decode, or a size that cannot be segmented.
    """
    data = np.frombuffer(message.data, np.uint8)
    image = None
    if len(data):
        try:
            image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error as error:
            raise ImageError(
                f"Cannot decode the compressed image of format '{message.format}': {error.err}."
            ) from error
    if image is None:
        raise ImageError(
            f"Expected a JPEG or PNG in the compressed image, got {len(data)} bytes of format '{message.format}' "
            "that cannot be decoded; is it a truncated frame, or a depth image?"
        )
    check_size(image.shape[1], image.shape[0])
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image).astype(np.uint8, copy=False)
