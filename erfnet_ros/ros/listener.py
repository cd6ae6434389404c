"""Hear what the segmentation node says, as a program on the robot would."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from erfnet_ros.msg import SegmentationStatistics

NAMESPACE = "/segmentation"

TYPES: dict[str, Any] = {
    "mask": Image,
    "confidence": Image,
    "overlay": Image,
    "statistics": SegmentationStatistics,
}
"""Output topics that can be listened to."""

OnOutput = Callable[[str, int, Any], None]

_WAITING_OUTPUTS = 64
"""Outputs that may wait for the keeping thread; then the subscriptions wait, and the oldest outputs are lost."""


class Listener(Node):
    """Subscribe to outputs of the node and hand them, with the time at which they came in, to a thread of its own.

    Args:
        topics: Names out of `TYPES`.
        on_output: Called on that thread with topic, time of arrival (ns since the epoch) and message.
    """

    def __init__(self, topics: Iterable[str], on_output: OnOutput) -> None:
        super().__init__("listener", namespace="/demo")
        self._on_output = on_output
        self._waiting: queue.Queue[tuple[str, int, Any] | None] = queue.Queue(_WAITING_OUTPUTS)
        self._failure: Exception | None = None
        self.diagnostics: DiagnosticStatus | None = None
        self.class_names: tuple[str, ...] | None = None
        profile = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.RELIABLE)
        for topic in topics:
            self.create_subscription(TYPES[topic], f"{NAMESPACE}/{topic}", partial(self._receive, topic), profile)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._receive_diagnostics, 10)
        self._subscribe_label_info()
        self._keeper = threading.Thread(target=self._keep, name="outputs", daemon=True)
        self._keeper.start()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *exception: object) -> None:
        self._waiting.put(None)
        self._keeper.join()
        self.destroy_node()

    def figures(self) -> dict[str, str]:
        """Return the figures of the node's newest diagnostics; empty before the first."""
        return {pair.key: pair.value for pair in self.diagnostics.values} if self.diagnostics else {}

    def check(self) -> None:
        """Raise what went wrong on the thread, if anything did."""
        if self._failure is not None:
            raise self._failure

    def _receive(self, topic: str, message: Any) -> None:
        self._waiting.put((topic, time.time_ns(), message))

    def _keep(self) -> None:
        while (item := self._waiting.get()) is not None:
            if self._failure is not None:
                continue
            try:
                self._on_output(*item)
            except Exception as error:
                # The main thread raises it; this one goes on emptying the queue, lest the executor hang.
                self._failure = error

    def _receive_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.startswith(f"{NAMESPACE}/segmenter"):
                self.diagnostics = status

    def _subscribe_label_info(self) -> None:
        try:
            from vision_msgs.msg import LabelInfo
        except ImportError:
            return
        latched = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=1,
            reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL,
        )
        self.create_subscription(LabelInfo, f"{NAMESPACE}/label_info", self._receive_label_info, latched)

    def _receive_label_info(self, message: Any) -> None:
        self.class_names = tuple(entry.class_name for entry in message.class_map)
