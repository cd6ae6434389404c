"""Output recorder: subscribes to the segmentation node as a program on the robot would."""

from __future__ import annotations

import queue
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image

from erfnet_ros.msg import SegmentationStatistics
from erfnet_ros.ros import diagnostic_keys as keys

NAMESPACE = "/segmentation"

TYPES: dict[str, Any] = {
    "mask": Image,
    "confidence": Image,
    "overlay": Image,
    "statistics": SegmentationStatistics,
}
"""Output topics that can be recorded."""

_WAITING_OUTPUTS = 64
"""Outputs that may wait for the worker thread; then the subscriptions wait, and the oldest outputs are lost."""


@dataclass(frozen=True)
class Arrival:
    """An output of the node that came in.

    Attributes:
        at_ns: When it was taken, ns since the epoch.
        received_ns: When the middleware of this process had received it; None where it does not say.
        message: The message, or its serialized bytes.
    """

    topic: str
    at_ns: int
    received_ns: int | None
    message: Any


@dataclass(frozen=True)
class NodeCounts:
    """Frames as the node counts them itself.

    Attributes:
        processed: Segmented and published.
        dropped: Skipped for a newer one.
        rejected: Bad input.
    """

    processed: int = 0
    dropped: int = 0
    rejected: int = 0

    @classmethod
    def of(cls, statistics: Any) -> NodeCounts:
        """Return the counts in a SegmentationStatistics message."""
        return cls(statistics.frames_processed, statistics.frames_dropped, statistics.frames_rejected)

    @property
    def total(self) -> int:
        """Frames that the node knows of."""
        return self.processed + self.dropped + self.rejected

    def __sub__(self, earlier: NodeCounts) -> NodeCounts:
        return NodeCounts(
            self.processed - earlier.processed, self.dropped - earlier.dropped, self.rejected - earlier.rejected
        )


class OutputRecorder(Node):
    """Subscribe to outputs of the node and hand them, with their time of arrival, to a worker thread.

    Args:
        topics: Names out of `TYPES`.
        on_output: Called on that thread with each output.
        namespace: Of the segmentation node.
        raw: Whether messages stay serialized, which costs less where many come.

    Attributes:
        diagnostics: The node's newest; None before the first.
        heard_s: When that came in, seconds of `time.monotonic`.
    """

    def __init__(
        self,
        topics: Iterable[str],
        on_output: Callable[[Arrival], None],
        *,
        namespace: str = NAMESPACE,
        raw: bool = False,
    ) -> None:
        super().__init__("recorder", namespace="/demo")
        self._on_output = on_output
        self._namespace = namespace
        self._waiting: queue.Queue[Arrival | None] = queue.Queue(_WAITING_OUTPUTS)
        self._failure: Exception | None = None
        self.diagnostics: DiagnosticStatus | None = None
        self.heard_s = time.monotonic()
        profile = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.RELIABLE)
        for topic in topics:
            receive = partial(self._receive, topic)
            self.create_subscription(TYPES[topic], f"{namespace}/{topic}", receive, profile, raw=raw)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._receive_diagnostics, 10)
        self._worker = threading.Thread(target=self._work, name="outputs", daemon=True)
        self._worker.start()

    def __enter__(self) -> OutputRecorder:
        return self

    def __exit__(self, *exception: object) -> None:
        self._waiting.put(None)
        self._worker.join()
        self.destroy_node()

    def diagnostic_values(self) -> dict[str, str]:
        """Return keys and values of the node's newest diagnostics; empty before the first."""
        return {pair.key: pair.value for pair in self.diagnostics.values} if self.diagnostics else {}

    def engine(self) -> str:
        """Return engine, device and precision of the node, in words."""
        values = self.diagnostic_values()
        return f"{values[keys.ENGINE]} on {values[keys.DEVICE]} in {values[keys.PRECISION]}"

    def check(self) -> None:
        """Raise what went wrong on the thread, if anything did."""
        if self._failure is not None:
            raise self._failure

    def _receive(self, topic: str, message: Any, info: dict[str, Any]) -> None:
        at_ns = time.time_ns()
        # Zero where the middleware leaves it out.
        received_ns = info.get("received_timestamp") or None
        self._waiting.put(Arrival(topic, at_ns, received_ns, message))

    def _work(self) -> None:
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
            # A node of several cameras has a status for each of them as well.
            if status.name == f"{self._namespace}/{keys.STATUS_NAME}":
                self.diagnostics, self.heard_s = status, time.monotonic()


def read_header(message: Any) -> tuple[int, str]:
    """Return stamp (ns) and frame id of a message, or of its serialized bytes, that begins with a header."""
    if not isinstance(message, bytes):
        stamp = message.header.stamp
        return stamp.sec * 1_000_000_000 + stamp.nanosec, message.header.frame_id
    order = "<" if message[1] & 1 else ">"
    seconds, nanoseconds, length = struct.unpack_from(f"{order}iII", message, 4)
    return seconds * 1_000_000_000 + nanoseconds, message[16 : 16 + max(0, length - 1)].decode(errors="replace")


def read_statistics(message: Any) -> SegmentationStatistics:
    """Return statistics, serialized or not."""
    if not isinstance(message, bytes):
        return message
    return deserialize_message(message, SegmentationStatistics)


def with_stamp(message: bytes, stamp_ns: int) -> bytes:
    """Return a serialized message with another stamp (ns) in its header."""
    order = "<" if message[1] & 1 else ">"
    return message[:4] + struct.pack(f"{order}iI", *divmod(stamp_ns, 1_000_000_000)) + message[12:]
