"""One camera of the node: its subscription, its publishers, and counts of its frames."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from rclpy.callback_groups import CallbackGroup
from rclpy.lifecycle import LifecycleNodeMixin
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.ros.node.monitoring.fault_throttle import FaultThrottle, rejection_reason
from erfnet_ros.ros.node.publishers import CameraPublishers, SegmentedFrame
from erfnet_ros.ros.rclpy_compat import MessageInfo, SubscriptionEventCallbacks, take_waiting, with_message_info

_LOG_PERIOD_S = 5.0
"""How often the same kind of fault is logged; the diagnostics show bad input for twice as long."""

_SILENCE_S = 2.0
_INTERVALS = 3
"""A slow camera is silent after so many of its intervals."""

_LOST_FOR_EACH = 9
"""Images lost for each that arrived, from which on next to nothing arrives."""

_DELIVERY_S = 0.2
"""How soon an idle node has an image that has arrived; more than the executor takes on a busy machine."""


def newest_only(reliability: ReliabilityPolicy) -> QoSProfile:
    """Return the profile that keeps one message and replaces it when a newer one comes."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=reliability)


@dataclass(frozen=True)
class ArrivalWindow:
    """Images of the last seconds.

    Attributes:
        received: That arrived.
        missed: That did not, by their numbers.
        lost: Of those, that got lost on the way; the others were replaced by newer ones while the node was busy.
    """

    received: int
    missed: int
    lost: float

    @property
    def too_many_lost(self) -> bool:
        """Whether next to nothing arrives."""
        return self.received > 0 and self.lost >= _LOST_FOR_EACH * self.received

    @property
    def lost_percent(self) -> float:
        """Share of the images that got lost."""
        return 100 * self.lost / max(self.received + self.missed, 1)

    @property
    def replaced_percent(self) -> float:
        """Share of the images that were replaced."""
        return 100 * (self.missed - self.lost) / max(self.received + self.missed, 1)


class ArrivalMonitor:
    """Tells a camera whose images do not arrive from a slow camera, and from a node that is slower than the camera.

    All times are of `time.monotonic()`; a node that processes a frame has been idle for 0 s or less.

    Args:
        now_s: When the node subscribed, or last knew of no publisher.
    """

    WINDOW_S = 5.0

    def __init__(self, now_s: float) -> None:
        self._last_s = self._empty_s = now_s
        self._interval_s = 0.0
        self._numbers: dict[bytes, int] = {}
        self._arrived: deque[tuple[float, int, float]] = deque(maxlen=1000)

    def arrived(self, info: MessageInfo, now_s: float, idle_s: float) -> int:
        """Return how many images were missed since the publisher's last, by its numbers (Humble has none: 0)."""
        publisher = bytes(info.get("publisher_gid", {}).get("data", b""))
        number = info.get("publication_sequence_number")
        last = self._numbers.get(publisher)
        gap_s, missed, lost = now_s - self._last_s, 0, 0.0
        if number is not None:
            self._numbers[publisher] = number
            if last is not None and number == last + 1:
                self._interval_s = gap_s
            elif last is not None and number > last + 1:
                missed = number - last - 1
                # Those that came while the node was busy were replaced in its reader by newer ones.
                lost = missed * idle_s / gap_s if 0 < idle_s < gap_s else missed * float(idle_s > 0)
        self._last_s = now_s
        self._arrived.append((now_s, missed, lost))
        return missed

    def nothing_waits(self, now_s: float) -> None:
        """Note that the reader was found empty."""
        self._empty_s = now_s

    def silence_s(self, now_s: float, idle_s: float) -> float:
        """Return for how long no image has arrived, or 0 where that is no silence."""
        if idle_s > _DELIVERY_S:
            self._empty_s = now_s
        silence_s = self._empty_s - self._last_s
        return silence_s if silence_s >= max(_SILENCE_S, _INTERVALS * self._interval_s) else 0.0

    def window(self, now_s: float) -> ArrivalWindow:
        """Return what arrived in the last `WINDOW_S`."""
        recent = [each for each in tuple(self._arrived) if each[0] >= now_s - self.WINDOW_S]
        return ArrivalWindow(len(recent), sum(missed for _, missed, _ in recent), sum(lost for *_, lost in recent))


class Scheduler(Protocol):
    """What processes the images of all cameras: `FrameScheduler`."""

    def process_round(self, camera: Camera, message: Any) -> None:
        """Process a message that the camera received."""

    def idle_s(self) -> float:
        """Return for how long no image was processed; 0 or less while one is."""


class Camera:
    """A camera's subscription, publishers and counts.

    It subscribes with the reliability that the camera offers, and only while an output has a subscriber.

    Args:
        node: Whose topics and remappings; both a `LifecycleNodeMixin` and a `Node`.
        name: Prefix of its topics, as in front/mask; "" for a node's only camera.
        class_set: Names and colors of the labels.
        compressed: Whether it takes sensor_msgs/CompressedImage.
        group: Callback group of the image callbacks of all cameras, and of nothing else.
        scheduler: Processes the images.

    Attributes:
        topic: Resolved topic of the images.
        newest_info: The camera's newest calibration; None before the first, or while nobody reads camera_info.
        last_frame: The newest segmented frame; None before the first, or where `keeps_last_frame` is false.
        arrivals: Monitor of the images that arrive.
        received_s: `time.monotonic()` when the newest image arrived, as all that follow; -inf before the first.
        stamp_ns: The newest image's stamp.
        jumped_s: When a stamp was last before its predecessor.
        jump_s: By how much.
        segmented_s: When the last frame was published.
        stages_ms: Its preprocessing, inference and postprocessing.
        confidence: Mean confidence of the last frames, 0..1; NaN before the first.
        processed: Frames segmented and published since `start`.
        rejected: Frames of bad input since `start`.
        dropped: Frames that were not segmented since `start`: a newer one came first, or `max_rate` was exceeded.
    """

    def __init__(
        self,
        node: LifecycleNodeMixin,
        name: str,
        *,
        class_set: ClassSet,
        compressed: bool,
        group: CallbackGroup,
        scheduler: Scheduler,
    ) -> None:
        prefix = f"{name}/" if name else ""
        self.name = name
        self.publishers = CameraPublishers(node, class_set, prefix)
        self.node: Node = node
        self._group = group
        self.scheduler = scheduler
        self.image, self._own_info = f"{prefix}image", f"{prefix}camera_info"
        self._type = CompressedImage if compressed else Image
        self.type_name = f"sensor_msgs/msg/{self._type.__name__}"
        raw_topic = node.resolve_topic_name(self.image)
        self.topic = _compressed_topic(node, self.image) if compressed else raw_topic
        self._info_topic = raw_topic.rsplit("/", 1)[0] + "/camera_info"
        self._subscription: Subscription[Any] | None = None
        self._info_subscription: Subscription[CameraInfo] | None = None
        self._reliability = ReliabilityPolicy.BEST_EFFORT
        self.arrivals = ArrivalMonitor(time.monotonic())
        self.newest_info: CameraInfo | None = None
        self.keeps_last_frame = False
        self._last_error, self._last_error_s = "", float("-inf")
        self._throttle = FaultThrottle(_LOG_PERIOD_S)
        self.start()

    def start(self) -> None:
        """Forget the frames so far, and count from zero."""
        self.received_s = self.jumped_s = self.segmented_s = -math.inf
        self.stamp_ns, self.jump_s = 0, 0.0
        self.stages_ms, self.confidence = (math.nan, math.nan, math.nan), math.nan
        self._segmented: deque[float] = deque(maxlen=1000)
        self.last_frame: SegmentedFrame | None = None
        self.reset_counts()
        self._next_frame_s = 0.0

    def reset_counts(self) -> None:
        """Count frames from zero."""
        self.processed = self.rejected = self.dropped = 0

    # The subscription.

    @property
    def subscribed(self) -> bool:
        """Whether images are being received."""
        return self._subscription is not None

    def update_subscription(self) -> None:
        """Subscribe while an output has a subscriber, with the camera's reliability; called periodically."""
        wanted = self.publishers.wanted()
        publishers = self.node.get_publishers_info_by_topic(self.topic)
        offered = {publisher.qos_profile.reliability for publisher in publishers}
        # A best-effort subscription receives from every publisher; a reliable one only from reliable ones.
        only_reliable = offered == {ReliabilityPolicy.RELIABLE}
        reliability = ReliabilityPolicy.RELIABLE if only_reliable else ReliabilityPolicy.BEST_EFFORT
        if self.type_name not in {publisher.topic_type for publisher in publishers}:
            self.arrivals = ArrivalMonitor(time.monotonic())
        if self._subscription is not None and (not wanted or reliability != self._reliability):
            self.node.destroy_subscription(self._subscription)
            self._subscription = None
        if wanted and self._subscription is None:
            self._reliability = reliability
            # Frames published before do not count as dropped.
            self.arrivals = ArrivalMonitor(time.monotonic())
            self._subscription = self.node.create_subscription(
                self._type,
                self.topic,
                with_message_info(self._receive),
                newest_only(reliability),
                callback_group=self._group,
                # rclpy would warn of a publisher of another reliability, to which the subscription is fitted just then.
                event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
            )
        if "camera_info" not in wanted:
            self._unsubscribe_info()
        elif self._info_subscription is None and self._info_topic != self.node.resolve_topic_name(self._own_info):
            self._info_subscription = self.node.create_subscription(
                CameraInfo, self._info_topic, self._receive_info, newest_only(ReliabilityPolicy.BEST_EFFORT)
            )

    def unsubscribe(self) -> None:
        """Unsubscribe from the camera; works after the context's shutdown as well."""
        if self._subscription is not None:
            self.node.destroy_subscription(self._subscription)
            self._subscription = None
        self._unsubscribe_info()

    def take(self) -> Image | CompressedImage | None:
        """Take the message that waits, or return None; for the image callback of another camera in the same group."""
        subscription = self._subscription
        taken = take_waiting(subscription) if subscription is not None else None
        if taken is None:
            self.arrivals.nothing_waits(time.monotonic())
            return None
        self._note_arrival(*taken, 0.0)
        return taken[0]

    def _unsubscribe_info(self) -> None:
        if self._info_subscription is not None:
            self.node.destroy_subscription(self._info_subscription)
            self._info_subscription = self.newest_info = None

    def _receive(self, message: Image | CompressedImage, info: MessageInfo) -> None:
        self._note_arrival(message, info, self.scheduler.idle_s())
        self.scheduler.process_round(self, message)

    def _note_arrival(self, message: Image | CompressedImage, info: MessageInfo, idle_s: float) -> None:
        now_s, stamp = time.monotonic(), message.header.stamp
        stamp_ns = stamp.sec * 1_000_000_000 + stamp.nanosec
        if stamp_ns < self.stamp_ns:
            self.jumped_s, self.jump_s = now_s, (self.stamp_ns - stamp_ns) / 1e9
        self.stamp_ns, self.received_s = stamp_ns, now_s
        self.dropped += self.arrivals.arrived(info, now_s, idle_s)

    def _receive_info(self, message: CameraInfo) -> None:
        self.newest_info = message

    # The counts.

    @property
    def last_error(self) -> str | None:
        """Why a frame was rejected in the last seconds, or None."""
        return self._last_error if time.monotonic() - self._last_error_s < 2 * _LOG_PERIOD_S else None

    def is_due(self, now_s: float, max_rate: float) -> bool:
        """Return whether a frame at this time is within `max_rate` (Hz; 0 is no limit); count it as dropped if not."""
        if max_rate <= 0:
            return True
        if now_s < self._next_frame_s:
            self.dropped += 1
            return False
        # Continued from the planned time, so that the mean rate is kept although frames do not come exactly then.
        self._next_frame_s = max(self._next_frame_s + 1 / max_rate, now_s)
        return True

    def note_segmented(self, frame: SegmentedFrame) -> None:
        """Note times and confidence of a frame that was just published."""
        self.segmented_s = time.monotonic()
        self._segmented.append(self.segmented_s)
        postprocess_ms = 1e3 * (time.perf_counter() - frame.inferred_s)
        self.stages_ms = (frame.preprocess_ms, frame.segmentation.times.inference_ms, postprocess_ms)
        newest = frame.mean_confidence
        self.confidence = newest if math.isnan(self.confidence) else self.confidence + (newest - self.confidence) / 10

    def segmented_rate_hz(self, now_s: float) -> float:
        """Return how many frames were segmented, over the window of the arrivals."""
        window_s = self.arrivals.WINDOW_S
        return sum(at_s >= now_s - window_s for at_s in tuple(self._segmented)) / window_s

    @contextmanager
    def count_rejections(self) -> Iterator[None]:
        """Count and log whatever is raised inside as a rejected frame, so that the next one is processed."""
        try:
            yield
        except Exception as error:
            self._reject(error)

    def _reject(self, error: Exception) -> None:
        self.rejected += 1
        self._last_error, self._last_error_s = rejection_reason(error), time.monotonic()
        if self._throttle.is_due(error):
            source = f" of {self.name}" if self.name else ""
            self.node.get_logger().error(f"Frame{source} rejected ({self.rejected} so far): {self._last_error}")


def _compressed_topic(node: Node, image: str) -> str:
    """Return the topic that `image/compressed` is remapped to, or else image_transport's name for it."""
    own = node.resolve_topic_name(f"{image}/compressed")
    if own != node.resolve_topic_name(f"{image}/compressed", only_expand=True):
        return own
    return node.resolve_topic_name(image) + "/compressed"
