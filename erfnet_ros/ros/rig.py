"""The real node, a camera and a listener, each a process of its own, talking over DDS."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions

from erfnet_ros.ros.camera import FRAME_ID, Played
from erfnet_ros.ros.camera_process import CAMERA_TOPIC, CameraProcess
from erfnet_ros.ros.ledger import Ledger
from erfnet_ros.ros.listener import Listener
from erfnet_ros.ros.process import ChildProcess, ProcessError, node_command

_READY_TIMEOUT_S = 180.0
"""A cold disk, an engine to load and a busy machine included."""

_ASK_AGAIN_S = 5.0
"""Patience with the first frame, which may be lost, and may take an engine long."""

_QUIET_S = 15.0
"""Without any output for so long, after the camera's last frame, nothing more will come."""

Keep = Callable[[str, int, Any], None]


class Rig:
    """Bring node, camera and listener up, play frames, and take everything down again.

    Args:
        parameters: The node's parameters, as `-p NAME:=VALUE` has them.
        camera_arguments: Of `erfnet_ros.ros.camera`.
        topics: Outputs to listen to; mask and statistics among them.
        keep: Called with topic, frame index and message of each output, on the listener's thread.
        log: File for what the node writes.
    """

    def __init__(
        self,
        parameters: Mapping[str, str],
        camera_arguments: Sequence[str],
        topics: Sequence[str],
        keep: Keep,
        log: Path | None = None,
    ) -> None:
        self._command = [*node_command(), "--ros-args", "-r", f"image:={CAMERA_TOPIC}"]
        for name, value in parameters.items():
            # JSON's strings are YAML's: the value stays a string, whatever it looks like.
            self._command += ["-p", f"{name}:={json.dumps(value)}"]
        self._camera_arguments = camera_arguments
        self._topics = topics
        self._keep = keep
        self._log = log
        self._counted = self._counted_before = (0, 0)
        self._warm = False
        self.ledger = Ledger(FRAME_ID, topics)

    def __enter__(self) -> Rig:
        with ExitStack() as stack:
            self.node = stack.enter_context(ChildProcess("node", self._command, log=self._log))
            self.camera = stack.enter_context(CameraProcess(self._camera_arguments, self.ledger.sent))
            rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
            stack.callback(rclpy.try_shutdown)
            self.listener = stack.enter_context(Listener(self._topics, self._receive))
            self._executor = SingleThreadedExecutor()
            stack.callback(self._executor.shutdown)
            self._executor.add_node(self.listener)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @property
    def dropped(self) -> int:
        """Frames that the node passed over for a newer one, as it counts them itself."""
        return self._counted[0] - self._counted_before[0]

    @property
    def rejected(self) -> int:
        """Frames that the node refused, as it counts them itself."""
        return self._counted[1] - self._counted_before[1]

    def wait_until_ready(self) -> None:
        """Wait until the node has answered a first frame, which does not count.

        Raises:
            ProcessError: The node is not configured, a process ended, or it took too long; says which and why.
        """
        deadline = time.monotonic() + _READY_TIMEOUT_S
        asked_s = 0.0
        # Discovery is not the same moment for both ends: what is sent before both know each other is lost.
        while self.camera.played is None or not self.ledger.is_last_complete():
            self._spin()
            if self.camera.length is not None and self._node_listens() and time.monotonic() > asked_s + _ASK_AGAIN_S:
                asked_s = time.monotonic()
                self.camera.request([0])
            status = self.listener.diagnostics
            if status is not None and status.level == DiagnosticStatus.ERROR:
                raise ProcessError(f"The node is up, but: {status.message}")
            if time.monotonic() > deadline:
                child = self.node if self.camera.length is not None else self.camera
                raise ProcessError(child.with_tail(f"The {child.name} is not ready after {_READY_TIMEOUT_S:g} s."))
        self._counted_before = self._counted
        self.ledger.forget()
        self._warm = True

    def play(self, indexes: Sequence[int], on_progress: Callable[[], None]) -> Played:
        """Play frames and wait for what comes of them.

        Args:
            indexes: Frames of the source.
            on_progress: Called now and then.

        Raises:
            ProcessError: A process ended, or nothing came back at all.
        """
        already = answers = self.ledger.frames_out
        self.ledger.begin_pass()
        self.camera.request(indexes)
        heard_s = time.monotonic()
        while True:
            self._spin()
            on_progress()
            played = self.camera.played
            if played is None or self.ledger.frames_out != answers:
                answers, heard_s = self.ledger.frames_out, time.monotonic()
            elif self.ledger.is_last_complete():
                return played
            elif time.monotonic() - heard_s > _QUIET_S:
                if answers == already:
                    raise ProcessError(self.node.with_tail(f"The node answered none of {played.published} frames."))
                return played

    def _spin(self) -> None:
        self._executor.spin_once(timeout_sec=0.05)
        self.listener.check()
        self.node.check_alive()
        self.camera.check_alive()

    def _node_listens(self) -> bool:
        # The node subscribes anew once it has seen the camera's reliability; a frame sent before that would be lost.
        if not self.listener.figures().get("state", "").startswith("segmenting"):
            return False
        readers = self.listener.get_subscriptions_info_by_topic(CAMERA_TOPIC)
        return any(reader.qos_profile.reliability == ReliabilityPolicy.RELIABLE for reader in readers)

    def _receive(self, topic: str, at_ns: int, message: Any) -> None:
        counts = self._warm
        if topic == "statistics":
            self._counted = (message.frames_dropped, message.frames_rejected)
        stamp = message.header.stamp
        index = self.ledger.received(topic, stamp.sec * 1_000_000_000 + stamp.nanosec, message.header.frame_id, at_ns)
        if index is not None and counts:
            self._keep(topic, index, message)
