"""Endurance benchmark: the real node at a camera's rate for minutes, to see memory or latency grow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psutil

from erfnet_ros.evaluation.metrics.latency import LatencyStatistics, latency_statistics
from erfnet_ros.ros.harness.file_camera import camera_playback
from erfnet_ros.ros.harness.harness import NodeHarness
from erfnet_ros.ros.harness.node_process import NodeConfig

WIDTH, HEIGHT, RATE_HZ = 640, 480, 15

_TOPICS = ("mask", "confidence", "statistics")
_DISTINCT = 3 * RATE_HZ
"""Frames that are rendered."""

_PARTS = 10


@dataclass(frozen=True)
class Endurance:
    """State of the node over time.

    Attributes:
        minutes: How long frames were sent.
        sent: Frames published.
        answered: Those of them whose mask came back; the node drops frames that it is too slow for.
        memory_mb: Resident memory of the node at the end of each tenth of the run, 10^6 bytes.
        latency_ms: Stamp to mask received in another process, of the frames of each tenth.
    """

    minutes: float
    sent: int
    answered: int
    memory_mb: tuple[float, ...]
    latency_ms: tuple[LatencyStatistics | None, ...]


def measure_endurance(minutes: float, parameters: Mapping[str, str | float]) -> Endurance:
    """Send frames to the real node at a camera's rate.

    Args:
        minutes: How long.
        parameters: Of the node.
    """
    frames = max(1, round(60 * minutes * RATE_HZ / _PARTS))
    camera = camera_playback(size=f"{WIDTH}x{HEIGHT}", frames=_DISTINCT, rate=RATE_HZ)
    memory_mb: list[float] = []
    latencies_ms: list[list[float]] = []
    sent = 0
    with NodeHarness(NodeConfig(parameters), camera, _TOPICS, lambda *_: None) as harness:
        harness.wait_until_ready()
        node = psutil.Process(harness.node_pid())
        for _ in range(_PARTS):
            harness.start_window()
            harness.play([index % _DISTINCT for index in range(frames)], lambda: None)
            memory_mb.append(node.memory_info().rss / 1e6)
            sent += harness.tracker.frames_in
            latencies_ms.append(harness.tracker.latencies_ms)
    answered = sum(map(len, latencies_ms))
    return Endurance(minutes, sent, answered, tuple(memory_mb), tuple(map(latency_statistics, latencies_ms)))
