"""A camera's side of the node: one image subscription, there only while it is wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

ImageCallback = Callable[[Any], None]


def newest_only(reliability: ReliabilityPolicy) -> QoSProfile:
    """Return the profile that keeps one message and forgets it when a newer one comes."""
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=reliability)


class CameraInput:
    """Subscribe to the camera in the way that it publishes.

    Args:
        node: Whose topics, and whose remappings.
        prefix: Comes before the names of its topics, such as "front/"; "" for a node's only camera.
        transport: raw or compressed.
        group: Callback group that the image callbacks of all cameras have to themselves.
        on_image: Called with every image message that the executor takes.
    """

    def __init__(self, node: Node, prefix: str, transport: str, group: CallbackGroup, on_image: ImageCallback) -> None:
        self._node = node
        self._image, self._own_info = f"{prefix}image", f"{prefix}camera_info"
        self._group = group
        self._on_image = on_image
        self._type = CompressedImage if transport == "compressed" else Image
        raw_topic = node.resolve_topic_name(self._image)
        self.topic = _compressed_topic(node, self._image) if transport == "compressed" else raw_topic
        self.info_topic = raw_topic.rsplit("/", 1)[0] + "/camera_info"
        self._subscription: Subscription | None = None
        self._info_subscription: Subscription | None = None
        self._reliability = ReliabilityPolicy.BEST_EFFORT
        self._last_numbers: dict[bytes, int] = {}
        self.newest_info: CameraInfo | None = None
        self.dropped = 0

    @property
    def subscribed(self) -> bool:
        """Whether images are being received."""
        return self._subscription is not None

    def update(self, images_wanted: bool, info_wanted: bool) -> None:
        """Subscribe or unsubscribe, and follow the camera's reliability; call it now and then."""
        reliability = self._offered_reliability()
        if self._subscription is not None and (not images_wanted or reliability != self._reliability):
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
        if images_wanted and self._subscription is None:
            self._reliability = reliability
            # Frames published before are nobody's loss.
            self._last_numbers = {}
            self._subscription = self._node.create_subscription(
                self._type, self.topic, self._receive, newest_only(reliability), callback_group=self._group
            )
        self._update_info(images_wanted and info_wanted)

    def close(self) -> None:
        """Let go of the camera."""
        self.update(images_wanted=False, info_wanted=False)

    def take(self) -> Image | CompressedImage | None:
        """Take the message that waits, or return None; for the image callback of another camera in the same group."""
        subscription = self._subscription
        if subscription is None:
            return None
        try:
            with subscription.handle:
                taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
        except rclpy_implementation.InvalidHandle:
            # The camera was let go of meanwhile.
            return None
        if taken is None:
            return None
        message, info = taken
        self._count_missing(info)
        return message

    def complaint(self) -> str | None:
        """Say why no image can arrive, or None where nothing speaks against it."""
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        if not publishers:
            return f"Nobody publishes {self.topic}; start the camera, or remap {self._image} to its topic."
        expected = f"sensor_msgs/msg/{self._type.__name__}"
        types = sorted({publisher.topic_type for publisher in publishers})
        if expected not in types:
            return (
                f"Expected {expected} on {self.topic}, got {', '.join(types)}; check image_transport and the remapping."
            )
        return None

    def _offered_reliability(self) -> ReliabilityPolicy:
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        offered = {publisher.qos_profile.reliability for publisher in publishers}
        # A best-effort reader hears every publisher; a reliable one hears only reliable ones.
        return ReliabilityPolicy.RELIABLE if offered == {ReliabilityPolicy.RELIABLE} else ReliabilityPolicy.BEST_EFFORT

    def _receive(self, message: Image | CompressedImage, info: dict[str, Any]) -> None:
        self._count_missing(info)
        self._on_image(message)

    def _count_missing(self, info: dict[str, Any]) -> None:
        """Count the frames between this one and the one before, by the publisher's own numbers (not in Humble)."""
        number = info.get("publication_sequence_number")
        if number is None:
            return
        publisher = bytes(info.get("publisher_gid", {}).get("data", b""))
        last = self._last_numbers.get(publisher)
        if last is not None and number > last + 1:
            self.dropped += number - last - 1
        self._last_numbers[publisher] = number

    def _update_info(self, wanted: bool) -> None:
        if (
            wanted
            and self._info_subscription is None
            and self.info_topic != self._node.resolve_topic_name(self._own_info)
        ):
            self._info_subscription = self._node.create_subscription(
                CameraInfo, self.info_topic, self._receive_info, newest_only(ReliabilityPolicy.BEST_EFFORT)
            )
        if not wanted and self._info_subscription is not None:
            self._node.destroy_subscription(self._info_subscription)
            self._info_subscription = None
            self.newest_info = None

    def _receive_info(self, message: CameraInfo) -> None:
        self.newest_info = message


def _compressed_topic(node: Node, image: str) -> str:
    """Return the compressed topic: where `image/compressed` is remapped to, else what image_transport calls it."""
    own = node.resolve_topic_name(f"{image}/compressed")
    if own != node.resolve_topic_name(f"{image}/compressed", only_expand=True):
        return own
    return node.resolve_topic_name(image) + "/compressed"
