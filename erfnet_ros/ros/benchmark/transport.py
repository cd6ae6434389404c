"""Transport benchmark: images from a camera to a subscriber in another process, without an engine.

As a program, this module is that subscriber: it writes a line of JSON for each image, with its stamp and its time of
arrival, ns since the epoch.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image

from erfnet_ros.evaluation.metrics.latency import LatencyStatistics, latency_statistics
from erfnet_ros.ros.harness.child_process import ChildProcess, ProcessError, child_environment
from erfnet_ros.ros.harness.file_camera import CAMERA_TOPIC, camera_playback
from erfnet_ros.ros.harness.output_recorder import read_header
from erfnet_ros.ros.harness.playback import PlayerProcess
from erfnet_ros.ros.node.camera import newest_only
from erfnet_ros.ros.transport import PROFILE_VARIABLES, keep_large_blocks

WIDTH, HEIGHT, RATE_HZ = 1920, 1080, 30

_DISTINCT = 4
"""Frames that are rendered; the transport does not know that it has seen them before."""

_WARM_UP = 5
_TURNS = 2
_TIMEOUT_S = 60.0
_SETTLE_S = 0.5
"""After the camera's last frame, for what is still on its way."""


@dataclass(frozen=True)
class TransportStatistics:
    """Images sent and received over one way of transport.

    Attributes:
        transport_ms: Stamp, set right before publication, to the subscriber's callback; None where nothing arrived.
    """

    transport: str
    sent: int
    received: int
    transport_ms: LatencyStatistics | None


class _Pair:
    """A camera and a receiver in a domain of their own."""

    def __init__(self, stack: ExitStack, transport: str, environment: dict[str, str]) -> None:
        self._transport = transport
        self._sent: list[int] = []
        self._arrived: dict[int, int] = {}
        size = f"{WIDTH}x{HEIGHT}"
        camera = camera_playback(size=size, frames=_DISTINCT, rate=RATE_HZ, reliability="best_effort")
        receiver = [sys.executable, "-m", "erfnet_ros.ros.benchmark.transport"]
        self._receiver = stack.enter_context(
            ChildProcess("receiver", receiver, environment=environment, on_line=self._read)
        )
        self._camera = stack.enter_context(
            PlayerProcess(camera, lambda sent: self._sent.append(sent.stamp_ns), environment)
        )

    def warm_up(self) -> None:
        """Wait for discovery; does not count."""
        self.play(_WARM_UP)
        self._sent.clear()
        self._arrived.clear()

    def play(self, frames: int) -> None:
        """Send images at the rate, and wait for them."""
        self._camera.request([index % _DISTINCT for index in range(frames)])
        deadline = time.monotonic() + _TIMEOUT_S + frames / RATE_HZ
        while self._camera.played is None:
            self._check(deadline)
        settled = time.monotonic() + _SETTLE_S
        while time.monotonic() < settled:
            self._check(deadline)

    def statistics(self) -> TransportStatistics:
        """Return the statistics of everything played since the warm-up."""
        taken_ms = [(self._arrived[stamp] - stamp) / 1e6 for stamp in self._sent if stamp in self._arrived]
        return TransportStatistics(self._transport, len(self._sent), len(taken_ms), latency_statistics(taken_ms))

    def _check(self, deadline: float) -> None:
        time.sleep(0.02)
        for child in (self._camera, self._receiver):
            child.check_alive()
        if time.monotonic() > deadline:
            raise ProcessError(self._camera.with_tail("The camera did not play its frames in time."))

    def _read(self, line: str) -> None:
        if line.startswith("{"):
            entry = json.loads(line)
            self._arrived[entry["stamp_ns"]] = entry["at_ns"]


def measure_transport(seconds: float) -> tuple[TransportStatistics, TransportStatistics]:
    """Measure with the package's profile and without, in turns of `seconds` each."""
    with_profile = child_environment()
    without = {name: value for name, value in with_profile.items() if name not in PROFILE_VARIABLES}
    without["ROS_DOMAIN_ID"] = str(1 + int(os.environ["ROS_DOMAIN_ID"]) % 101)
    frames = max(1, round(seconds * RATE_HZ))
    with ExitStack() as stack:
        pairs = (
            _Pair(stack, "with config/fastdds.xml", with_profile),
            _Pair(stack, "the middleware as it comes", without),
        )
        for pair in pairs:
            pair.warm_up()
        for _ in range(_TURNS):
            for pair in pairs:
                pair.play(frames)
        return pairs[0].statistics(), pairs[1].statistics()


def main() -> int:
    """Write the arrival of images until the process is interrupted; return 0."""

    def receive(message: Image) -> None:
        at_ns = time.time_ns()
        print(json.dumps({"stamp_ns": read_header(message)[0], "at_ns": at_ns}), flush=True)

    keep_large_blocks()
    # rclpy's own handlers wake a spin that nothing else would: without them SIGINT waits for the next image.
    rclpy.init(args=[])
    node = rclpy.create_node("receiver", namespace="/benchmark")
    node.create_subscription(Image, CAMERA_TOPIC, receive, newest_only(ReliabilityPolicy.BEST_EFFORT))
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
