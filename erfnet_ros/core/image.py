"""Images: size and layout checks, and the encodings of sensor_msgs/Image, of a ROS message or of one out of a bag.

Source of encodings, step and layout: sensor_msgs/Image and sensor_msgs/image_encodings.hpp.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import ImageError
from erfnet_ros.core.printable_text import printable

log = logging.getLogger(__name__)

MIN_SIDE = 8
"""Shortest side of an image, pixels: the network's stride."""

MAX_PIXELS = 4096 * 4096
"""Most pixels of an image: the class scores of a larger one would take gigabytes."""


def check_size(width: int, height: int) -> None:
    """Raise ImageError where a side is below 8 pixels or an image has more than 4096 x 4096 pixels."""
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
    """Raise ImageError for anything but an (H, W, 3) uint8 array of a usable size."""
    if not isinstance(image, np.ndarray):
        raise ImageError(f"Expected a NumPy array, got {type(image).__name__}.")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f"Expected an (H, W, 3) uint8 RGB image, got shape {image.shape} of {image.dtype}.")
    check_size(image.shape[1], image.shape[0])


def contiguous_rgb(image: Pixels) -> Pixels:
    """Return an (H, W, 3) uint8 view as one C-contiguous block; itself where it already is one."""
    if image.flags.c_contiguous:
        return image
    block = np.empty(image.shape, np.uint8)
    copy_rgb(image, block)
    return block


def contiguous_batch(images: Pixels) -> Pixels:
    """Return (N, H, W, 3) uint8 images as one C-contiguous block; themselves where they already are one."""
    return contiguous_rgb(images[0])[None] if len(images) == 1 else np.ascontiguousarray(images)


def copy_rgb(image: Pixels, block: Pixels) -> None:
    """Copy an (H, W, 3) uint8 view into a C-contiguous block of the same shape, in one pass.

    A BGR image seen through reversed channels (`bgr[..., ::-1]`) and a mono image seen three times are turned by
    OpenCV, which takes a tenth of NumPy's time for such strides.
    """
    if image.strides[2] == -1 and image.strides[1] == 3:
        cv2.cvtColor(image[..., ::-1], cv2.COLOR_BGR2RGB, dst=block)
    elif image.strides[2] == 0 and image.strides[1] == 1:
        cv2.cvtColor(image[..., 0], cv2.COLOR_GRAY2RGB, dst=block)
    else:
        np.copyto(block, image)


VIEWED = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8UC1": 1, "8UC3": 3, "8UC4": 4}
"""Encodings read in place, with their bytes per pixel. 8UC3 and 8UC4 are taken as BGR(A), with a warning."""

BAYER = {
    # OpenCV names a pattern by its second row, ROS by its first.
    "bayer_rggb": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg": cv2.COLOR_BayerGB2RGB,
}
"""OpenCV's conversion of each pattern, whose encodings have the bits of a pixel appended: 8 or 16."""

_DEEP = {
    "mono": (1, cv2.COLOR_GRAY2RGB),
    "rgb": (3, None),
    "bgr": (3, cv2.COLOR_BGR2RGB),
    "rgba": (4, cv2.COLOR_RGBA2RGB),
    "bgra": (4, cv2.COLOR_BGRA2RGB),
}
_PACKED_YUV = {
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "yuyv": cv2.COLOR_YUV2RGB_YUY2,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2,
}
_PLANAR_YUV = {"nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21}

CONVERTED = {
    **{f"{order}8": 1 for order in BAYER},
    **{f"{order}16": 2 for order in BAYER},
    **{f"{name}16": 2 * channels for name, (channels, _) in _DEEP.items()},
    **dict.fromkeys(_PACKED_YUV, 2),
    **dict.fromkeys((*_PLANAR_YUV, "nv24"), 1),
}
"""Encodings converted by OpenCV, with their bytes per pixel and row."""

_YUV444_TO_RGB = np.array([[1.164, 0, 1.596], [1.164, -0.391, -0.813], [1.164, 2.018, 0]])
"""BT.601 with limited range, which OpenCV's conversions of the other YUV encodings have too."""

_DEPTH = ("16UC1", "32FC1")
_SAMPLES = 20_000


class ImageMessage(Protocol):
    """The fields of sensor_msgs/Image that are read here; `data` is anything with the buffer protocol."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


def to_array(message: ImageMessage) -> Pixels:
    """Return the image as (H, W, 3) uint8 RGB.

    8-bit RGB, BGR, RGBA, BGRA and mono are views of the message's data, of whatever strides that takes: they live as
    long as the message, and `contiguous_rgb` lays them out. Alpha is ignored. Rows are `step`
    bytes apart. 16-bit pixels are scaled by the image's own range, see `scale_to_8_bit`.

    Raises:
        ImageError: Unknown encoding, step or data too small, or a size that cannot be segmented.
    """
    width, height, encoding = message.width, message.height, message.encoding
    check_size(width, height)
    pixel_bytes = VIEWED.get(encoding) or CONVERTED.get(encoding)
    if pixel_bytes is None:
        remedy = "choose the color topic of this depth camera, or publish a thermal image as mono16"
        raise ImageError(
            f"Expected an image encoding out of {', '.join((*VIEWED, *CONVERTED))}, got '{printable(encoding)}'; "
            f"{remedy if encoding in _DEPTH else 'convert it in the camera driver or with image_proc'}."
        )
    if message.step < width * pixel_bytes:
        raise ImageError(
            f"Expected a step of at least {width * pixel_bytes} bytes for {width} pixels of {encoding}, got "
            f"{message.step}; the camera driver fills the message wrongly."
        )
    if (encoding in _PACKED_YUV and width % 2) or (encoding in _PLANAR_YUV and (width % 2 or height % 2)):
        raise ImageError(
            f"Expected even sides for {encoding}, in which pixels share their color, got {width}x{height}; "
            "set another resolution in the camera driver."
        )
    # Color follows the brightness: at half the resolution in both directions, or in full for both of its channels.
    rows = height * 3 if encoding == "nv24" else height * 3 // 2 if encoding in _PLANAR_YUV else height
    needed = message.step * rows
    if len(message.data) < needed:
        raise ImageError(
            f"Expected {needed} bytes of data (step {message.step} x {rows} rows), got {len(message.data)}; "
            "the camera driver fills the message wrongly."
        )
    data = np.frombuffer(message.data, np.uint8, needed)
    if encoding in VIEWED:
        return _view(data, message)
    if encoding == "nv24":
        return _from_nv24(data, message)
    pixels: Pixels = np.ndarray((rows, width * pixel_bytes), np.uint8, data, 0, (message.step, 1))
    return _converted(pixels, encoding, bool(message.is_bigendian))


def scale_to_8_bit(values: npt.NDArray[np.uint16]) -> Pixels:
    """Scale 16-bit pixels by their own range: cameras fill 10, 12 or 14 of the 16 bits, thermal ones a narrow band.

    Args:
        values: (H, W) or (H, W, C) uint16.

    Returns:
        The same shape, uint8: 0 for the image's 0.1 % quantile and below, 255 for the 99.9 % quantile and above, so
        that dead pixels do not count. An image of a single value is divided by 257.
    """
    flat = values.reshape(len(values), -1)
    # An odd stride meets every color of a Bayer pattern.
    low, high = np.percentile(flat.ravel()[:: flat.size // _SAMPLES | 1], (0.1, 99.9))
    if high <= low:
        low, high = 0, 65535
    scale = 255 / (high - low)
    scaled = cv2.convertScaleAbs(np.maximum(flat, np.uint16(low)), alpha=scale, beta=-scale * int(low))
    return np.asarray(scaled, np.uint8).reshape(values.shape)


def debayer(pixels: Pixels, encoding: str) -> Pixels:
    """Turn (H, W) uint8 pixels of a Bayer pattern such as bayer_rggb8 into (H, W, 3) uint8 RGB."""
    return cv2.cvtColor(pixels, BAYER[encoding.removesuffix("16").removesuffix("8")]).astype(np.uint8, copy=False)


def _view(data: Pixels, message: ImageMessage) -> Pixels:
    encoding, size = message.encoding, (message.height, message.width)
    channels = VIEWED[encoding]
    view: Pixels = np.ndarray((*size, channels), np.uint8, data, 0, (message.step, channels, 1))
    if channels == 1:
        return np.broadcast_to(view, (*size, 3))
    if encoding.startswith("8UC"):
        _warn_of_channel_order(encoding)
    return view[..., :3] if encoding.startswith("rgb") else view[..., 2::-1]


@cache
def _warn_of_channel_order(encoding: str) -> None:
    """Warn, once per process."""
    log.warning(
        "Encoding '%s' does not tell the order of the colors: it is taken as BGR, as OpenCV has it. Name the order "
        "where the image is published, for example cv2_to_imgmsg(image, 'bgr8').",
        encoding,
    )


def _converted(pixels: Pixels, encoding: str, big_endian: bool) -> Pixels:
    """Convert (rows, bytes) of a CONVERTED encoding."""
    if encoding in _PLANAR_YUV:
        return cv2.cvtColor(pixels, _PLANAR_YUV[encoding]).astype(np.uint8, copy=False)
    if encoding in _PACKED_YUV:
        pairs = pixels.reshape(len(pixels), -1, 2)
        return cv2.cvtColor(pairs, _PACKED_YUV[encoding]).astype(np.uint8, copy=False)
    if encoding.endswith("16"):
        # NumPy before 1.23 (Ubuntu 22.04) refuses this view of padded rows.
        words = np.ascontiguousarray(pixels).view(">u2" if big_endian else "<u2")
        pixels = scale_to_8_bit(words.astype(np.uint16))
    if encoding.startswith("bayer"):
        return debayer(pixels, encoding)
    channels, code = _DEEP[encoding.removesuffix("16")]
    colors = pixels.reshape(len(pixels), -1, channels)
    return colors if code is None else cv2.cvtColor(colors, code).astype(np.uint8, copy=False)


def _from_nv24(data: Pixels, message: ImageMessage) -> Pixels:
    """Convert NV24, which OpenCV does not know: a plane of Y, then one of U and V in turn."""
    height, width, step = message.height, message.width, message.step
    y: Pixels = np.ndarray((height, width, 1), np.uint8, data, 0, (step, 1, 1))
    uv: Pixels = np.ndarray((height, width, 2), np.uint8, data, height * step, (2 * step, 2, 1))
    shift = -_YUV444_TO_RGB @ (16, 128, 128)
    return cv2.transform(np.dstack([y, uv]), np.column_stack([_YUV444_TO_RGB, shift])).astype(np.uint8, copy=False)
