"""The projector node: joins the segmenter's mask with a depth camera's image or cloud to a labeled point cloud."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.class_set import CAMVID, named
from erfnet_ros.core.errors import ErfnetError, ImageError
from erfnet_ros.core.printable_text import printable
from erfnet_ros.data.point_cloud import PointFilter, as_array, depth_to_meters, intrinsics_of, label_cloud, project
from erfnet_ros.ros import diagnostic_keys as keys
from erfnet_ros.ros.node.image_conversion import to_rgb
from erfnet_ros.ros.node.monitoring.diagnostics import LONGEST_MESSAGE, Diagnostics, Status
from erfnet_ros.ros.node.monitoring.fault_throttle import FaultThrottle, rejection_reason
from erfnet_ros.ros.node.parameter_handler import ParameterHandler, TableNode
from erfnet_ros.ros.points.parameters import PROJECTOR_BY_NAME, point_filter
from erfnet_ros.ros.points.stamp_matcher import DEPTH, StampMatcher

_INFO = "camera_info"

_TOGETHER = "together"
"""Key of the error of parameters that do not fit each other."""

_SUBSCRIPTION_PERIOD_S = 0.2
"""How soon subscribers of the cloud and depth cameras that come and go are noticed."""

_LOG_PERIOD_S = 60.0
"""How often the same kind of problem is logged."""

_PROBLEM_S = 10.0
"""How long the diagnostics show a problem after it last occurred."""

_NEVER_MATCHED = 10
"""Unmatched frames, without a matched one, that are more than a start in the middle of a stream."""

_PROJECTED_FIELDS = [
    PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
    for index, name in enumerate(("x", "y", "z", "rgb"))
]


class ProjectorNode(TableNode):
    """Publishes `points` while it has a subscriber: a point for each pixel of `mask`, stamped as the depth.

    The topic `depth` may be a depth image, with its camera_info next to it, or an organized point cloud, which gets
    label and confidence. Input that does not fit is counted, logged once a minute for each kind, and shown in the
    diagnostics.
    """

    parameter_table = PROJECTOR_BY_NAME

    def __init__(self, **node_options: Any) -> None:
        super().__init__(keys.PROJECTOR_NAME, **{"namespace": "segmentation", **node_options})
        self._class_set = CAMVID
        self._parameter_handler = ParameterHandler(self, lambda names: self._use_settings(), self._filter_of)
        try:
            self._class_set = named(self._parameter_handler.text("checkpoint") or CAMVID.name)
            self._use_settings()
        except ErfnetError as error:
            self._parameter_handler.errors[_TOGETHER] = str(error)
        for reason in self._parameter_handler.errors.values():
            self.get_logger().error(reason)
        for warning in self._parameter_handler.warnings:
            self.get_logger().warning(warning)
        self._cloud_publisher = self.create_publisher(PointCloud2, "points", _qos(ReliabilityPolicy.RELIABLE))
        self._depth_topic = self.resolve_topic_name(DEPTH)
        self._depth_type: type | None = None
        self._readers: list[Subscription[Any]] = []
        self._silent_topics: dict[str, str] = {}
        self._matcher = StampMatcher(())
        self._calibration = CameraInfo()
        self._published = self._rejected = self._unmatched = 0
        self._throttle = FaultThrottle(_LOG_PERIOD_S)
        self._problem, self._problem_s = "", float("-inf")
        self._diagnostics = Diagnostics(self)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_SUBSCRIPTION_PERIOD_S, self._update_subscriptions, clock=steady)
        self.create_timer(1.0, self._publish_diagnostics, clock=steady)

    def _filter_of(self, settings: Mapping[str, Any]) -> PointFilter:
        return point_filter(settings, self._class_set)

    def _use_settings(self) -> None:
        settings = self._parameter_handler.settings()
        self._kept = self._filter_of(settings)
        self._tolerance_ns = round(1e9 * settings["depth_tolerance"])
        self._require_same_frame = settings["require_same_frame"]
        self._parameter_handler.errors.pop(_TOGETHER, None)

    # Subscriptions.

    def _update_subscriptions(self) -> None:
        """Subscribe while `points` has a subscriber and `depth` a publisher."""
        wanted = self._cloud_publisher.get_subscription_count() > 0 and not self._parameter_handler.errors
        depth_type = self._offered_type() if wanted else None
        if depth_type is self._depth_type:
            return
        for reader in self._readers:
            self.destroy_subscription(reader)
        self._unmatched += self._matcher.unmatched
        self._depth_type, self._readers, self._silent_topics = depth_type, [], {}
        # The messages of a frame; those of a cloud have colors of their own.
        color = [self._parameter_handler.text("point_color")] if depth_type is Image else []
        names = ("mask", "confidence", *color)
        self._matcher = StampMatcher(names)
        if depth_type is not None:
            for name in names:
                self._subscribe(name, Image, self.resolve_topic_name(name), self._match)
            self._subscribe(DEPTH, depth_type, self._depth_topic, self._match)
        if depth_type is Image:
            info_topic = f"{self._depth_topic.rpartition('/')[0]}/{_INFO}"
            self._subscribe(_INFO, CameraInfo, info_topic, self._receive_calibration)

    def _offered_type(self) -> type | None:
        offered = {publisher.topic_type for publisher in self.get_publishers_info_by_topic(self._depth_topic)}
        for depth_type in (Image, PointCloud2):
            if f"sensor_msgs/msg/{depth_type.__name__}" in offered:
                return depth_type
        got = f"Expected an Image or a PointCloud2 on {self._depth_topic}, got {', '.join(sorted(offered))}"
        problem = got if offered else f"Nobody publishes {self._depth_topic}"
        self._warn(
            "type" if offered else "publisher", f"{problem}; start the depth camera, or remap depth to its topic."
        )
        return None

    def _subscribe(self, name: str, message_type: type, topic: str, use: Callable[[str, Any], None]) -> None:
        """Let `use` take each message of a topic, with the name."""

        def receive(message: Any) -> None:
            self._silent_topics.pop(name, None)
            use(name, message)

        offered = {publisher.qos_profile.reliability for publisher in self.get_publishers_info_by_topic(topic)}
        # A best-effort subscription receives from every publisher; a reliable one only from reliable ones.
        only_reliable = offered == {ReliabilityPolicy.RELIABLE}
        policy = ReliabilityPolicy.RELIABLE if only_reliable else ReliabilityPolicy.BEST_EFFORT
        self._silent_topics[name] = topic
        self._readers.append(self.create_subscription(message_type, topic, receive, _qos(policy)))

    # Frames.

    def _receive_calibration(self, name: str, message: CameraInfo) -> None:
        self._calibration = message

    def _match(self, name: str, message: Image | PointCloud2) -> None:
        """Publish the cloud that a message completes."""
        stamp = message.header.stamp
        self._matcher.add(name, stamp.sec * 1_000_000_000 + stamp.nanosec, message)
        if self._matcher.unmatched >= _NEVER_MATCHED and not self._published + self._rejected:
            self._warn(
                "unmatched",
                f"Nothing arrives on {', '.join(self._silent_topics.values())}; check the remapping and the publisher."
                if self._silent_topics
                else f"No depth on {self._depth_topic} has the stamp of a mask, within {self._tolerance_ns / 1e9:g} s; "
                "synchronize the depth camera with the color camera, or raise depth_tolerance.",
            )
        if _INFO in self._silent_topics:
            return
        for frame, depth in self._matcher.matches(self._tolerance_ns):
            try:
                self._cloud_publisher.publish(self._cloud(frame, depth))
                self._published += 1
            except Exception as error:
                self._rejected += 1
                self._warn(error, f"Frame without a cloud: {rejection_reason(error)}")

    def _cloud(self, frame: dict[str, Image], depth: Image | PointCloud2) -> PointCloud2:
        """Return the labeled cloud.

        Raises:
            ImageError: The depth does not fit the mask.
        """
        labels, confidence = (_gray(frame[name]) for name in ("mask", "confidence"))
        if isinstance(depth, PointCloud2):
            points = label_cloud(depth, labels, confidence, self._kept)
            fields = [field for field in depth.fields if field.name not in ("label", "confidence")]
        else:
            self._check_frame(frame["mask"].header.frame_id, depth.header.frame_id)
            points = project(
                depth_to_meters(depth),
                intrinsics_of(self._calibration, depth.width, depth.height),
                rgb=to_rgb(frame[self._parameter_handler.text("point_color")]),
                labels=labels,
                confidence=confidence,
                kept=self._kept,
            )
            fields = _PROJECTED_FIELDS
        (height, width), step = points.shape, points.itemsize
        message = PointCloud2(header=depth.header, height=height, width=width, point_step=step, row_step=width * step)
        message.fields = [
            *fields,
            PointField(name="label", offset=step - 8, datatype=PointField.UINT32, count=1),
            PointField(name="confidence", offset=step - 4, datatype=PointField.FLOAT32, count=1),
        ]
        message.data.frombytes(points.view(np.uint8).data.cast("B"))
        return message

    def _check_frame(self, own: str, other: str) -> None:
        if self._require_same_frame and own != other:
            raise ImageError(
                f"Expected the depth image in the color image's frame '{own}', got '{other}'; use the depth that the "
                "driver aligns to the color image, or set require_same_frame to false where both name one frame."
            )

    # Diagnostics.

    def _warn(self, kind: object, text: str) -> None:
        """Show a problem in the diagnostics, and log it where its kind is due."""
        self._problem, self._problem_s = printable(text, LONGEST_MESSAGE), time.monotonic()
        if self._throttle.is_due(kind):
            self.get_logger().warning(self._problem)

    def _publish_diagnostics(self) -> None:
        recent = time.monotonic() - self._problem_s < _PROBLEM_S
        values = {
            keys.DEPTH_TOPIC: self._depth_topic,
            keys.CLOUDS_PUBLISHED: self._published,
            keys.FRAMES_UNMATCHED: self._unmatched + self._matcher.unmatched,
            keys.FRAMES_REJECTED: self._rejected,
        }
        state = keys.PROJECTING if self._readers else keys.WAITING
        errors = tuple(self._parameter_handler.errors.values())
        warnings = (*self._parameter_handler.warnings, *((self._problem,) if recent else ()))
        self._diagnostics.publish([Status(state, errors, warnings, values, "points")])


def _qos(reliability: ReliabilityPolicy) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=reliability)


def _gray(message: Image) -> Pixels:
    return as_array(message, np.dtype(np.uint8), row_bytes=message.step, item_bytes=1)
