"""Node harness: runs the real node and an image player as processes, and records what the node publishes over DDS."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions

from erfnet_ros.ros import diagnostic_keys as keys
from erfnet_ros.ros.harness.child_process import ChildProcess, ProcessError
from erfnet_ros.ros.harness.frame_tracker import FrameTracker
from erfnet_ros.ros.harness.node_process import NodeConfig
from erfnet_ros.ros.harness.output_recorder import Arrival, NodeCounts, OutputRecorder, read_header, read_statistics
from erfnet_ros.ros.harness.playback import Playback, Played, PlayerProcess

_READY_TIMEOUT_S = 180.0
"""A cold disk, an engine to load and a busy machine included."""

_ASK_AGAIN_S = 5.0
"""Patience with the first frame, which may be lost, and may take an engine long."""

_ANNOUNCED_S = 4.0
"""By then every publisher is known: Fast DDS announces each participant every 3 s."""

_FIRST_FRAMES = 10
"""Of so many frames one must be such that the node can segment it."""

_QUIET_S = 15.0
"""Without any output for so long, after the player's last frame, nothing more will come."""

_SILENCE_S = 20.0
"""A node that says nothing for so long, once a second being its habit, is gone."""

Keep = Callable[[int, Arrival], None]


class NodeHarness:
    """Bring node, player and recorder up, play frames, and take everything down again.

    Args:
        topics: Outputs to listen to; mask and statistics among them.
        keep: Called with the frame index and each output, on the recorder's thread.
        raw: Whether the outputs are handed on as they are serialized.

    Attributes:
        tracker: What was sent and what came back.
        counts_before: What the node had counted when the harness was ready.
        node: The node's process; None where somebody else started it.
    """

    def __init__(
        self, node: NodeConfig, playback: Playback, *, topics: Sequence[str], keep: Keep, raw: bool = False
    ) -> None:
        self._node = node
        self._playback = playback
        self._topics = topics
        self._keep = keep
        self._raw = raw
        self._counted = self.counts_before = NodeCounts()
        self._rejected_before = 0
        self._start_s = self._alone_s = time.monotonic()
        self._measuring = False
        self.tracker = FrameTracker(playback.frame_id, topics)

    def __enter__(self) -> NodeHarness:
        with ExitStack() as stack:
            self.node: ChildProcess | None = None
            if self._node.parameters is not None:
                command = self._node.command(self._playback)
                self.node = stack.enter_context(ChildProcess("node", command, log=self._node.log))
            self.player = stack.enter_context(PlayerProcess(self._playback, self.tracker.note_sent))
            rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
            stack.callback(rclpy.try_shutdown)
            recorder = OutputRecorder(self._topics, self._receive, namespace=self._node.namespace, raw=self._raw)
            self.recorder = stack.enter_context(recorder)
            self._executor = SingleThreadedExecutor()
            stack.callback(self._executor.shutdown)
            self._executor.add_node(self.recorder)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    @property
    def counts(self) -> NodeCounts:
        """What the node says that became of its frames, since the harness is ready."""
        return self._counted - self.counts_before

    def node_pid(self) -> int:
        """Return the process id of the node that this harness started.

        Raises:
            ProcessError: Somebody else started the node.
        """
        if self.node is None:
            raise ProcessError(f"Expected a node of this harness, got one that runs already in {self._node.namespace}.")
        return self.node.pid

    def wait_until_ready(self) -> None:
        """Wait until the node has answered a first frame, which does not count.

        Raises:
            ProcessError: The node is not configured, refuses the frames, a process ended, or it took too long; says
                which and why.
        """
        deadline = time.monotonic() + _READY_TIMEOUT_S
        asked, asked_s = 0, float("-inf")
        # Discovery is not the same moment for both ends: what is sent before both know each other is lost.
        while self._crowded() or self.player.played is None or not self.tracker.is_last_complete():
            self._spin()
            # A frame that was refused needs no patience.
            patience_s = 0.0 if self._rejected() - self._rejected_before == asked else _ASK_AGAIN_S
            # While a frame waits for its subscriber, another would only queue up behind it, and answer too late.
            is_free = self.player.length is not None and (not asked or self.player.played is not None)
            if is_free and self._node_listens() and time.monotonic() > asked_s + patience_s:
                asked_s = time.monotonic()
                self.player.request([asked % min(self.player.length or 1, _FIRST_FRAMES)])
                if not asked:
                    self._rejected_before = self._rejected()
                asked += 1
            self._check_status(asked)
            if time.monotonic() > deadline:
                raise self._late()
        self.settle_counts()
        self.start_window()

    def start_window(self) -> None:
        """Count anew: what answers an image that was sent before is left out of everything that is counted."""
        self.counts_before = self._counted
        self.tracker.start_window()
        self._measuring = True

    def play(self, indexes: Sequence[int], on_progress: Callable[[], None]) -> Played:
        """Play frames of the source and wait for their outputs; `on_progress` is called again and again.

        Raises:
            ProcessError: A process ended, or nothing came back at all.
        """
        already = answers = self.tracker.frames_out
        self.tracker.begin_pass()
        self.player.request(indexes)
        heard_s = time.monotonic()
        while True:
            self._spin()
            on_progress()
            played = self.player.played
            if played is None or self.tracker.frames_out != answers:
                answers, heard_s = self.tracker.frames_out, time.monotonic()
            elif self.tracker.is_last_complete():
                return played
            elif time.monotonic() - heard_s > _QUIET_S:
                if answers == already:
                    raise ProcessError(self._words(f"The node answered none of {played.published} frames."))
                return played

    def settle_counts(self) -> None:
        """Bring `counts` up to date with what the node says of this moment.

        Raises:
            ProcessError: A process ended, the node gets its images from somebody else as well, or is not configured.
        """
        self._check_alone()
        self._check_single_node()
        # Statistics come with a mask only, and do not tell of a frame that was refused after the last one.
        asked_s = time.monotonic()
        # A second node that starts under the same name says nothing of an engine until it is configured.
        while self.recorder.heard_s < asked_s or keys.ENGINE not in self.recorder.diagnostic_values():
            self._spin()
            if time.monotonic() - asked_s > _SILENCE_S:
                state = self.recorder.diagnostic_values().get(keys.STATE, "silent")
                raise ProcessError(
                    self._words(
                        f"Expected a configured node in {self._node.namespace}, got one that is {state}; "
                        "leave its lifecycle alone while it is measured, and start no second node of its name."
                    )
                )
        values = self.recorder.diagnostic_values()
        if all(key in values for key in keys.FRAME_COUNTS):
            self._count(NodeCounts(*(int(values[key]) for key in keys.FRAME_COUNTS)))

    def _spin(self) -> None:
        self._executor.spin_once(timeout_sec=0.05)
        self.recorder.check()
        self.player.check_alive()
        if self.node is not None:
            self.node.check_alive()
        elif self.recorder.diagnostics is not None and time.monotonic() - self.recorder.heard_s > _SILENCE_S:
            raise ProcessError(
                f"The node in {self._node.namespace} sends no diagnostics any more; check that it still runs."
            )

    def _check_status(self, asked: int) -> None:
        """Raise if the node cannot answer any image."""
        self._check_single_node()
        status = self.recorder.diagnostics
        if status is None:
            return
        broken = self.recorder.diagnostic_values().get(keys.STATE) in keys.UNUSABLE
        if broken and status.level == DiagnosticStatus.ERROR:
            raise ProcessError(f"The node is up, but: {status.message}")
        most = min(self.player.length or 1, _FIRST_FRAMES)
        if asked >= most and self._rejected() - self._rejected_before >= most:
            raise ProcessError(f"The node refuses every one of the first {most} images. {status.message}")

    def _crowded(self) -> bool:
        """Tell whether somebody else publishes the images of a node that somebody else started, or still may.

        Raises:
            ProcessError: For longer than it takes to see that a publisher has left.
        """
        if self._node.parameters is not None:
            return False
        now_s = time.monotonic()
        if self._publishers() <= 1:
            self._alone_s = now_s
            return now_s - self._start_s < _ANNOUNCED_S
        if now_s - self._alone_s > _ASK_AGAIN_S:
            self._check_alone()
        return True

    def _check_alone(self) -> None:
        topic, publishers = self._playback.topic, self._publishers()
        if self._node.parameters is None and publishers > 1:
            raise ProcessError(
                f"Expected this replay alone to publish {topic}, got {publishers} publishers; "
                "stop the camera, or the other replay."
            )

    def _check_single_node(self) -> None:
        """Raise where several nodes answer: each image would be counted twice."""
        nodes = self.recorder.count_publishers(f"{self._node.namespace}/mask")
        if nodes > 1:
            raise ProcessError(
                f"Expected one segmentation node in ROS_DOMAIN_ID {os.environ.get('ROS_DOMAIN_ID', '0')}, got {nodes}, "
                "which all answer the same images; stop the others, or set another ROS_DOMAIN_ID."
            )

    def _publishers(self) -> int:
        return self.recorder.count_publishers(self._playback.topic)

    def _rejected(self) -> int:
        return int(self.recorder.diagnostic_values().get(keys.FRAMES_REJECTED, "0"))

    def _late(self) -> ProcessError:
        message = f"is not ready after {_READY_TIMEOUT_S:g} s."
        if self.player.length is None:
            return ProcessError(self.player.with_tail(f"The {self.player.name} {message}"))
        if self.recorder.diagnostics is None and self.node is None:
            return ProcessError(
                f"No segmentation node in {self._node.namespace} {message} Check namespace and ROS_DOMAIN_ID."
            )
        state = self.recorder.diagnostic_values().get(keys.STATE, "silent")
        topic = self._playback.topic
        return ProcessError(self._words(f"The node {message} It is {state}; the images are on {topic}."))

    def _words(self, message: str) -> str:
        return message if self.node is None else self.node.with_tail(message)

    def _node_listens(self) -> bool:
        # The node subscribes anew once it has seen the player's reliability; a frame sent before that would be lost.
        if self.recorder.diagnostic_values().get(keys.STATE) != keys.SEGMENTING:
            return False
        readers = self.recorder.get_subscriptions_info_by_topic(self._playback.topic)
        return any(reader.qos_profile.reliability == ReliabilityPolicy.RELIABLE for reader in readers)

    def _receive(self, arrival: Arrival) -> None:
        measuring = self._measuring
        if arrival.topic == "statistics":
            self._count(NodeCounts.of(read_statistics(arrival.message)))
        stamp_ns, frame_id = read_header(arrival.message)
        index = self.tracker.note_output(arrival.topic, stamp_ns, frame_id=frame_id, at_ns=arrival.at_ns)
        if index is not None and measuring:
            self._keep(index, arrival)

    def _count(self, counts: NodeCounts) -> None:
        # Statistics and diagnostics may overtake each other, and the counts never fall.
        self._counted = max(self._counted, counts, key=lambda each: each.total)
