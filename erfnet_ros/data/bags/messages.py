"""Messages for bags, made of arrays and class sets without ROS.

Source of fields: sensor_msgs/Image, CompressedImage and CameraInfo, vision_msgs/LabelInfo.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

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


def depth_image(meters: npt.NDArray[np.float32], header: Any) -> Any:
    """Return a sensor_msgs/Image, 32FC1, of (H, W) meters (REP 118)."""
    height, width = meters.shape
    data = np.ascontiguousarray(meters).view(np.uint8).reshape(-1)
    return known_types().types[IMAGE](header, height, width, "32FC1", 0, 4 * width, data)


def camera_info(
    width: int, height: int, header: Any, *, intrinsics: tuple[float, float, float, float] | None = None
) -> Any:
    """Return a sensor_msgs/CameraInfo of a pinhole camera with fx, fy, cx, cy in pixels; zeros: not calibrated."""
    types = known_types().types
    k, r, p = np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 4))
    if intrinsics is not None:
        k[0, 0], k[1, 1], k[0, 2], k[1, 2] = intrinsics
        k[2, 2] = 1
        r, p[:, :3] = np.eye(3), k
    region = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    model, distortion = ("", np.zeros(0)) if intrinsics is None else ("plumb_bob", np.zeros(5))
    matrices = (matrix.reshape(-1) for matrix in (k, r, p))
    return types[CAMERA_INFO](header, height, width, model, distortion, *matrices, 0, 0, region)


def label_info(class_set: ClassSet, header: Any, threshold: float = 0.0) -> Any:
    """Return a vision_msgs/LabelInfo of the classes, with the confidence threshold (0..1) that masks were made with."""
    types = known_types().types
    classes = [types["vision_msgs/msg/VisionClass"](index, name) for index, name in enumerate(class_set.names)]
    return types[LABEL_INFO](header, classes, threshold)
