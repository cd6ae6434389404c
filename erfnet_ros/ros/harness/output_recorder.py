"""Hear what the segmentation node says, as a program on the robot would."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from erfnet_ros.msg import SegmentationStatistics
from erfnet_ros.ros.diagnostic_keys import STATUS_NAME

NAMESPACE = "/segmentation"

TYPES: dict[str, Any] = {
    "mask": Image,
    "confidence": Image,
    "overlay": Image,
    "statistics": SegmentationStatistics,
}
"""Output topics that can be listened to."""

_WAITING_OUTPUTS = 64
"""Outputs that may wait for the keeping thread; then the subscriptions wait, and the oldest outputs are lost."""


@dataclass(frozen=True)
class Arrival:
    """An output of the node that came in.

    Attributes:
        topic: Out of `TYPES`.
        at_ns: When it was taken, ns since the epoch.
        received_ns: When the middleware of this process had received it; None where it does not say.
        message: The message, or its serialized bytes.
    """

    topic: str
    at_ns: int
    received_ns: int | None
    message: Any


OnOutput = Callable[[Arrival], None]


class OutputRecorder(Node):
    """Subscribe to outputs of the node and hand them, with the time at which they came in, to a thread of its own.

    Args:
        topics: Names out of `TYPES`.
        on_output: Called on that thread with each output.
        namespace: Of the segmentation node.
        raw: Whether messages stay serialized, which costs less where many come.

    Attributes:
        diagnostics: The node's newest; None before the first.
        heard_s: When that came in, seconds of `time.monotonic`.
        class_names: From label_info; None where it has not come.
    """

    def __init__(
        self, topics: Iterable[str], on_output: OnOutput, namespace: str = NAMESPACE, raw: bool = False
    ) -> None:
        super().__init__("recorder", namespace="/demo")
        self._on_output = on_output
        self._namespace = namespace
        self._waiting: queue.Queue[Arrival | None] = queue.Queue(_WAITING_OUTPUTS)
        self._failure: Exception | None = None
        self.diagnostics: DiagnosticStatus | None = None
        self.heard_s = time.monotonic()
        self.class_names: tuple[str, ...] | None = None
        profile = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.RELIABLE)
        for topic in topics:
            receive = partial(self._receive, topic)
            self.create_subscription(TYPES[topic], f"{namespace}/{topic}", receive, profile, raw=raw)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._receive_diagnostics, 10)
        self._subscribe_label_info()
        self._worker = threading.Thread(target=self._keep, name="outputs", daemon=True)
        self._worker.start()

    def __enter__(self) -> OutputRecorder:
        return self

    def __exit__(self, *exception: object) -> None:
        self._waiting.put(None)
        self._worker.join()
        self.destroy_node()

    def figures(self) -> dict[str, str]:
        """Return the figures of the node's newest diagnostics; empty before the first."""
        return {pair.key: pair.value for pair in self.diagnostics.values} if self.diagnostics else {}

    def check(self) -> None:
        """Raise what went wrong on the thread, if anything did."""
        if self._failure is not None:
            raise self._failure

    def _receive(self, topic: str, message: Any, info: dict[str, Any]) -> None:
        at_ns = time.time_ns()
        # Zero where the middleware leaves it out.
        received_ns = info.get("received_timestamp") or None
        self._waiting.put(Arrival(topic, at_ns, received_ns, message))

    def _keep(self) -> None:
        while (arrival := self._waiting.get()) is not None:
            if self._failure is not None:
                continue
            try:
                self._on_output(arrival)
            except Exception as error:
                # The main thread raises it; this one goes on emptying the queue, lest the executor hang.
                self._failure = error

    def _receive_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            # The cameras of a node that has several speak for themselves.
            if status.name == f"{self._namespace}/{STATUS_NAME}":
                self.diagnostics, self.heard_s = status, time.monotonic()

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
        self.create_subscription(LabelInfo, f"{self._namespace}/label_info", self._receive_label_info, latched)

    def _receive_label_info(self, message: Any) -> None:
        self.class_names = tuple(entry.class_name for entry in message.class_map)
