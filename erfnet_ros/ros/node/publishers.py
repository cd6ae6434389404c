"""What the node publishes of one camera's frame, and only what somebody reads."""

from __future__ import annotations

import time
from copy import copy
from dataclasses import dataclass
from typing import Any

from rclpy.lifecycle import LifecycleNodeMixin
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.evaluation.metrics.class_statistics import class_statistics
from erfnet_ros.inference.segmenter import Segmentation
from erfnet_ros.msg import SegmentationStatistics
from erfnet_ros.ros.node.image_conversion import from_array, png_from_array
from erfnet_ros.visualization.overlay import blend, color_mask

_RELIABLE = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)

TOPICS: dict[str, Any] = {
    "mask": Image,
    "confidence": Image,
    "overlay": Image,
    "color_mask": Image,
    "mask/compressed": CompressedImage,
    "camera_info": CameraInfo,
    "statistics": SegmentationStatistics,
}


@dataclass(frozen=True)
class FrameReport:
    """What is known of a frame besides its pixels.

    Attributes:
        start: `time.perf_counter()` when it was taken, seconds.
        preprocess_ms: Message to array, milliseconds.
        processed: Frames since activation, this one included.
        dropped: Frames never taken, since activation.
        rejected: Frames of bad input, since activation.
    """

    start: float
    preprocess_ms: float
    processed: int
    dropped: int
    rejected: int


class Outputs:
    """The publishers of one camera.

    Args:
        node: The node, configured or being so.
        class_set: Names and colors of the labels.
        prefix: Comes before the topics' names, such as "front/"; "" for a node's only camera.
    """

    def __init__(self, node: LifecycleNodeMixin, class_set: ClassSet, prefix: str) -> None:
        self._node = node
        self._class_set = class_set
        self._palette = class_set.palette()
        self._publishers = {
            topic: node.create_lifecycle_publisher(message_type, f"{prefix}{topic}", _RELIABLE)
            for topic, message_type in TOPICS.items()
        }
        self._label_info = _label_info_publisher(node, f"{prefix}label_info")

    @property
    def names_labels(self) -> bool:
        """Whether `label_info` can be published here."""
        return self._label_info is not None

    def wanted(self) -> frozenset[str]:
        """Return the topics that somebody reads."""
        return frozenset(topic for topic, publisher in self._publishers.items() if publisher.get_subscription_count())

    def publish_label_info(self, threshold: float) -> None:
        """Publish the class names, kept for late subscribers, with the confidence threshold (0..1)."""
        if self._label_info is None:
            return
        from vision_msgs.msg import LabelInfo, VisionClass

        message = LabelInfo(threshold=threshold)
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.class_map = [VisionClass(class_id=i, class_name=name) for i, name in enumerate(self._class_set.names)]
        self._label_info.publish(message)

    def publish(
        self,
        wanted: frozenset[str],
        header: Header,
        rgb: Pixels,
        segmentation: Segmentation,
        mask: Pixels,
        alpha: float,
        info: CameraInfo | None,
        report: FrameReport,
    ) -> None:
        """Publish what is wanted of one frame, the mask first, everything under the image's header.

        Args:
            rgb: (H, W, 3) uint8 image.
            mask: (H, W) uint8 labels after the confidence threshold.
            alpha: Weight of the colors in the overlay, 0..1.
            info: The camera's newest calibration, if any.
        """
        inferred = time.perf_counter()
        if "mask" in wanted:
            self._publishers["mask"].publish(from_array(mask, "mono8", header))
        age_ms = self._age_ms(header)
        if "confidence" in wanted:
            self._publishers["confidence"].publish(from_array(segmentation.confidence, "mono8", header))
        if "overlay" in wanted:
            overlay = blend(rgb, mask, self._palette, alpha)
            self._publishers["overlay"].publish(from_array(overlay, "rgb8", header))
        if "color_mask" in wanted:
            self._publishers["color_mask"].publish(from_array(color_mask(mask, self._palette), "rgb8", header))
        if "mask/compressed" in wanted:
            self._publishers["mask/compressed"].publish(png_from_array(mask, header))
        if "camera_info" in wanted and info is not None:
            self._publishers["camera_info"].publish(fitted(info, mask.shape[1], mask.shape[0], header))
        if "statistics" in wanted:
            done = time.perf_counter()
            message = self._statistics(header, segmentation, mask, report)
            message.postprocess_ms = 1e3 * (done - inferred)
            message.total_ms = 1e3 * (done - report.start)
            message.age_ms = age_ms
            self._publishers["statistics"].publish(message)

    def close(self) -> None:
        """Take the publishers down."""
        for publisher in (*self._publishers.values(), self._label_info):
            if publisher is not None:
                self._node.destroy_publisher(publisher)

    def _statistics(
        self, header: Header, segmentation: Segmentation, mask: Pixels, report: FrameReport
    ) -> SegmentationStatistics:
        figures = class_statistics(mask, segmentation.confidence, len(self._class_set))
        return SegmentationStatistics(
            header=header,
            class_ids=list(range(len(self._class_set))),
            class_names=list(self._class_set.names),
            shares=figures.shares.tolist(),
            mean_confidences=figures.mean_confidences.tolist(),
            void_share=figures.void_share,
            preprocess_ms=report.preprocess_ms,
            inference_ms=segmentation.times.inference_ms,
            frames_processed=report.processed,
            frames_dropped=report.dropped,
            frames_rejected=report.rejected,
        )

    def _age_ms(self, header: Header) -> float:
        now = self._node.get_clock().now().nanoseconds
        return (now - (header.stamp.sec * 1_000_000_000 + header.stamp.nanosec)) / 1e6


def _label_info_publisher(node: LifecycleNodeMixin, topic: str) -> Any:
    try:
        from vision_msgs.msg import LabelInfo
    except ImportError:
        return None
    return node.create_lifecycle_publisher(LabelInfo, topic, _LATCHED)


def fitted(info: CameraInfo, width: int, height: int, header: Header) -> CameraInfo:
    """Return the calibration of a (width, height) mask of the image that `info` describes.

    Args:
        info: Calibration as the camera publishes it; left unchanged.
        width: Mask's columns.
        height: Mask's rows.
        header: Stamp and frame of the image.
    """
    result = copy(info)
    result.header = header
    if (info.width, info.height) == (width, height) or info.width == 0 or info.height == 0:
        return result
    scale_x, scale_y = width / info.width, height / info.height
    result.width, result.height = width, height
    # A tuple: the setter takes any sequence of the right length, but array types differ between distributions.
    result.k = tuple(
        value * scale for value, scale in zip(info.k, (*[scale_x] * 3, *[scale_y] * 3, 1, 1, 1), strict=True)
    )
    result.p = tuple(
        value * scale for value, scale in zip(info.p, (*[scale_x] * 4, *[scale_y] * 4, 1, 1, 1, 1), strict=True)
    )
    return result
