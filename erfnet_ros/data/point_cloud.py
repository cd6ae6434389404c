"""Labeled point clouds: labels and confidence of a mask at the points of a depth image or of an organized point cloud.

The clouds stay organized, a point for each pixel of the mask; a point that is missing or filtered out is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import ImageError
from erfnet_ros.core.image import ImageMessage

Floats = npt.NDArray[np.float32]
Points = npt.NDArray[np.void]
"""(H, W) structured array with at least the fields x, y, z (float32, meters), label (uint32), confidence (float32)."""

_DEPTH_TYPES = {"16UC1": ("u2", 0.001), "mono16": ("u2", 0.001), "32FC1": ("f4", 1.0)}
"""Type and meters per unit of each encoding (REP 118)."""

_PROJECTED = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("label", "<u4"), ("confidence", "<f4")]
)
"""In the order of PCL's PointXYZRGBL; rgb is 0x00RRGGBB."""

_FLOAT32 = 7
"""sensor_msgs/PointField.FLOAT32."""


class CameraInfoMessage(Protocol):
    """The fields of sensor_msgs/CameraInfo that are read here."""

    height: int
    width: int
    k: Sequence[float]
    p: Sequence[float]


@dataclass(frozen=True)
class PointFilter:
    """What is kept of a cloud.

    Attributes:
        stride: Every how manyth row and column.
        min_range: Smallest distance from the sensor, meters.
        max_range: Largest distance from the sensor, meters.
        labels: (256,) bool, which labels; None for all.
    """

    stride: int = 1
    min_range: float = 0.0
    max_range: float = math.inf
    labels: npt.NDArray[np.bool_] | None = None

    def hidden(self, labels: Pixels, distances: Callable[[], Floats]) -> npt.NDArray[np.bool_] | None:
        """Return which points are not kept; None where all are."""
        hidden: npt.NDArray[np.bool_] | None = None if self.labels is None else ~self.labels[labels]
        if self.min_range > 0 or self.max_range < math.inf:
            # NaN is in no range.
            outside = np.asarray(cv2.inRange(distances(), self.min_range, self.max_range)) == 0
            hidden = outside if hidden is None else hidden | outside
        return hidden


def depth_to_meters(message: ImageMessage) -> Floats:
    """Return the (H, W) depth of a 16UC1 (millimeters) or 32FC1 (meters) image; NaN where it is not above 0 and finite.

    Raises:
        ImageError: Another encoding, or too few bytes.
    """
    if message.encoding not in _DEPTH_TYPES:
        raise ImageError(
            f"Expected a depth image of 16UC1 (millimeters) or 32FC1 (meters), got encoding '{message.encoding}'; "
            "choose the depth camera's raw depth topic."
        )
    kind, scale = _DEPTH_TYPES[message.encoding]
    dtype = np.dtype(kind).newbyteorder(">" if message.is_bigendian else "<")
    raw = as_array(message, dtype, row_bytes=message.step, item_bytes=dtype.itemsize)
    depth: Floats = raw * np.float32(scale)
    depth[~((raw > 0) & (raw < np.inf))] = np.nan
    return depth


def intrinsics_of(info: CameraInfoMessage, width: int, height: int) -> tuple[float, float, float, float]:
    """Return fx, fy, cx, cy of a rectified image in pixels: those of P, or of K where P is zero.

    Raises:
        ImageError: The camera is not calibrated, or its image has another size.
    """
    fx, fy, cx, cy = (float(info.p[i]) for i in (0, 5, 2, 6))
    if fx == 0:
        fx, fy, cx, cy = (float(info.k[i]) for i in (0, 4, 2, 5))
    if not (fx > 0 and fy > 0):
        raise ImageError(
            "Expected the focal lengths of the depth camera in its camera_info, got zeros; calibrate the camera, or "
            "set its driver to publish the calibration."
        )
    if (info.width, info.height) != (width, height):
        raise ImageError(
            f"Expected the camera_info of the {width}x{height} depth image, got that of {info.width}x{info.height}; "
            "resize both with image_proc's ResizeNode."
        )
    return fx, fy, cx, cy


def project(
    depth: Floats,
    intrinsics: tuple[float, float, float, float],
    *,
    rgb: Pixels,
    labels: Pixels,
    confidence: Pixels,
    kept: PointFilter,
) -> Points:
    """Return the point of each pixel in the axes of the camera: x to the right, y down, z ahead (REP 103).

    Args:
        depth: (H, W) z in meters; NaN where it is missing.
        intrinsics: fx, fy, cx, cy; pixel centers are whole numbers.
        rgb: (H, W, 3) uint8.
        labels: (H, W) uint8.
        confidence: (H, W) uint8, 0..255 for 0..1.
        kept: What is kept of the cloud.

    Returns:
        Also the field rgb, packed as PCL does.

    Raises:
        ImageError: The images differ in size.
    """
    _check_size(depth.shape, labels, "depth image")
    step = np.s_[:: kept.stride, :: kept.stride]
    z, labels = depth[step], labels[step]
    across, down, lengths = _rays(depth.shape, intrinsics, kept.stride)
    hidden = kept.hidden(labels, lambda: z * lengths)
    if hidden is not None:
        z = np.where(hidden, np.float32(np.nan), z)
    # With PCL's alpha of 255 the bits would be a NaN to whoever reads rgb as the float that it is declared as.
    packed = cv2.cvtColor(rgb[step], cv2.COLOR_RGB2BGRA).view("<u4")[..., 0] & np.uint32(0xFFFFFF)
    scaled = confidence[step] * np.float32(1 / 255)
    planes = (z * across, z * down, z, packed.view("<f4"), labels.astype("<u4").view("<f4"), scaled)
    # OpenCV interleaves planes several times faster than NumPy assigns the fields of a structured array.
    points: Points = cv2.merge(planes).view(_PROJECTED)[..., 0]
    return points


def label_cloud(cloud: Any, labels: Pixels, confidence: Pixels, kept: PointFilter) -> Points:
    """Return a sensor_msgs/PointCloud2's points with label and confidence behind their own bytes, in any axes.

    Args:
        cloud: An organized cloud, pixel-aligned with the mask.
        labels: (H, W) uint8.
        confidence: (H, W) uint8, 0..255 for 0..1.
        kept: What is kept of the cloud.

    Raises:
        ImageError: The cloud is not organized, of another size, or has no float32 x, y, z.
    """
    offsets = {field.name: field.offset for field in cloud.fields if field.datatype == _FLOAT32}
    if not {"x", "y", "z"} <= set(offsets) or cloud.is_bigendian:
        raise ImageError(
            "Expected a little-endian point cloud with x, y and z as FLOAT32, got "
            f"{', '.join(field.name for field in cloud.fields) or 'no fields'}; convert it, or give a depth image."
        )
    if cloud.height == 1:
        raise ImageError(
            f"Expected an organized point cloud, got {cloud.width} points in one row, which belong to no pixel; set "
            "the driver to publish organized clouds (for RealSense: ordered_pc), or give a depth image."
        )
    _check_size((cloud.height, cloud.width), labels, "point cloud")
    step, size = np.s_[:: kept.stride, :: kept.stride], cloud.point_step
    source = as_array(cloud, np.dtype(f"V{size}"), row_bytes=cloud.row_step, item_bytes=size)[step]
    names = {"x": offsets["x"], "y": offsets["y"], "z": offsets["z"], "label": size, "confidence": size + 4}
    layout = {"names": [*names], "formats": ["<f4", "<f4", "<f4", "<u4", "<f4"], "offsets": [*names.values()]}
    points: npt.NDArray[Any] = np.empty(source.shape, np.dtype({**layout, "itemsize": size + 8}))  # type: ignore[call-overload]
    whole = np.dtype({"names": ["all"], "formats": [f"V{size}"], "offsets": [0], "itemsize": size + 8})
    points.view(whole)["all"] = source
    points["label"] = labels[step]
    points["confidence"] = confidence[step] * np.float32(1 / 255)
    hidden = kept.hidden(labels[step], lambda: np.linalg.norm([points[axis] for axis in "xyz"], axis=0))
    if hidden is not None:
        for axis in "xyz":
            np.copyto(points[axis], np.nan, where=hidden)
    return points


@lru_cache(maxsize=8)
def _rays(
    shape: tuple[int, int], intrinsics: tuple[float, float, float, float], stride: int
) -> tuple[Floats, Floats, Floats]:
    """Return x (1, w) and y (h, 1) at a depth of 1 m for each column and row, and the distance (h, w) there."""
    fx, fy, cx, cy = intrinsics
    across = (np.arange(0, shape[1], stride)[None] - cx) / fx
    down = (np.arange(0, shape[0], stride)[:, None] - cy) / fy
    lengths = np.sqrt(1 + across**2 + down**2)
    return across.astype(np.float32), down.astype(np.float32), lengths.astype(np.float32)


def as_array(message: Any, dtype: np.dtype[Any], *, row_bytes: int, item_bytes: int) -> npt.NDArray[Any]:
    """Return the (H, W) items of a message as a view."""
    height, width = message.height, message.width
    if row_bytes < width * item_bytes or len(message.data) < row_bytes * height:
        raise ImageError(
            f"Expected {height} rows of {width} x {item_bytes} bytes, got rows of {row_bytes} and {len(message.data)} "
            "bytes in all; the message is truncated."
        )
    array: npt.NDArray[Any] = np.ndarray((height, width), dtype, message.data, strides=(row_bytes, item_bytes))
    return array


def _check_size(shape: tuple[int, ...], labels: Pixels, what: str) -> None:
    if shape != labels.shape:
        raise ImageError(
            f"Expected a {what} of the mask's {labels.shape[1]}x{labels.shape[0]} pixels, got {shape[1]}x{shape[0]}; "
            "use the depth that the driver aligns to the color image (for RealSense: align_depth.enable), or register "
            "it with depth_image_proc."
        )
