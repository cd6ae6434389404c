"""sensor_msgs images to arrays, with cv_bridge where it works, and back.

What needs no ROS is in `erfnet_ros.core.image_encodings`.
"""

from __future__ import annotations

from array import array
from functools import cache

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from erfnet_ros.core import image_encodings
from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import ImageError
from erfnet_ros.core.image_encodings import VIEWED, CompactImage, Converter, convert_with_rosbags


def to_array(message: Image) -> Pixels:
    """Return the image as (H, W, 3) uint8 RGB, as `image_encodings.to_array` does; cv_bridge converts where it works.

    Raises:
        ImageError: Unknown encoding, step or data too small, or a size that cannot be segmented.
    """
    return image_encodings.to_array(message, _convert)


def _convert(image: CompactImage) -> Pixels:
    # Looked for when the first image needs it: 8-bit colors never do.
    return _converter()(image)


@cache
def _converter() -> Converter:
    """Return cv_bridge's conversion to rgb8 where it works, else that of rosbags-image."""
    try:
        from cv_bridge import CvBridge

        bridge = CvBridge()

        def by_cv_bridge(image: CompactImage) -> Pixels:
            message = Image(height=image.height, width=image.width, encoding=image.encoding, step=image.step)
            message.is_bigendian = image.is_bigendian
            message.data = _bytes_of(image.data)
            return np.asarray(bridge.imgmsg_to_cv2(message, "rgb8"), np.uint8)

        by_cv_bridge(CompactImage(2, 2, "bayer_rggb8", 0, 2, np.zeros(4, np.uint8)))
        return by_cv_bridge
    except Exception:
        # Built against another NumPy, cv_bridge fails in many ways: ImportError, AttributeError, SystemError.
        return convert_with_rosbags


def from_array(pixels: Pixels, encoding: str, header: Header) -> Image:
    """Return a message of (H, W) mono8 or (H, W, 3) rgb8 or bgr8 pixels, which are copied once.

    The header is shared, not copied.
    """
    height, width = pixels.shape[:2]
    message = Image(header=header, height=height, width=width, encoding=encoding)
    message.step = width * VIEWED[encoding]
    message.data = _bytes_of(np.ascontiguousarray(pixels))
    return message


def png_from_array(labels: Pixels, header: Header) -> CompressedImage:
    """Return (H, W) uint8 labels as a losslessly compressed message, as compressed_image_transport names it."""
    done, encoded = cv2.imencode(".png", labels, (cv2.IMWRITE_PNG_COMPRESSION, 1))
    if not done:
        raise ImageError(f"OpenCV could not encode labels of shape {labels.shape} as PNG.")
    message = CompressedImage(header=header, format="mono8; png compressed mono8")
    message.data = _bytes_of(encoded)
    return message


def _bytes_of(pixels: Pixels) -> array[int]:
    """Copy contiguous pixels into what message setters take as it is; they check anything else byte by byte."""
    data = array("B")
    data.frombytes(pixels.data.cast("B"))
    return data
