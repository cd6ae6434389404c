"""Messages for bags, made of arrays and class sets without ROS.

Source of fields: sensor_msgs/Image, CompressedImage and CameraInfo, vision_msgs/LabelInfo.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import ImageError
from erfnet_ros.core.image import VIEWED
from erfnet_ros.data.bags.message_types import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, LABEL_INFO, known_types

_JPEG_QUALITY = 95


def header(stamp_ns: int, frame_id: str) -> Any:
    """Return a std_msgs/Header of a stamp in nanoseconds, 0 to 2^31 seconds."""
    types = known_types().types
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    return types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](seconds, nanoseconds), frame_id)


def image(pixels: Pixels, encoding: str, header: Any) -> Any:
    """Return a sensor_msgs/Image of (H, W) mono8, or (H, W, 3) pixels in the order that rgb8 or bgr8 says."""
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels).reshape(-1)
    return known_types().types[IMAGE](header, height, width, encoding, 0, width * VIEWED[encoding], data)


def compressed_image(rgb: Pixels, encoding: str, header: Any) -> Any:
    """Return a sensor_msgs/CompressedImage, "jpeg" (quality 95) or "png", of (H, W, 3) uint8 RGB."""
    options = (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY) if encoding == "jpeg" else (cv2.IMWRITE_PNG_COMPRESSION, 1)
    done, data = cv2.imencode(".jpg" if encoding == "jpeg" else ".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ImageError(f"OpenCV could not encode an image of shape {rgb.shape} as {encoding}.")
    return known_types().types[COMPRESSED_IMAGE](header, f"rgb8; {encoding} compressed bgr8", data.reshape(-1))


def camera_info(width: int, height: int, header: Any) -> Any:
    """Return a sensor_msgs/CameraInfo that says the size, and by its zeros that the camera is not calibrated."""
    types = known_types().types
    nine, twelve, none = np.zeros(9), np.zeros(12), np.zeros(0)
    region = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    return types[CAMERA_INFO](header, height, width, "", none, nine, nine, twelve, 0, 0, region)


def label_info(class_set: ClassSet, header: Any, threshold: float = 0.0) -> Any:
    """Return a vision_msgs/LabelInfo of the classes, with the confidence threshold (0..1) that masks were made with."""
    types = known_types().types
    classes = [types["vision_msgs/msg/VisionClass"](index, name) for index, name in enumerate(class_set.names)]
    return types[LABEL_INFO](header, classes, threshold)
