"""The real node at a camera's rate for minutes: whether its memory or its latency grows with time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import psutil

from erfnet_ros.evaluation.metrics.latency import LatencyStatistics, latency_statistics
from erfnet_ros.ros.harness.file_camera import camera_playback
from erfnet_ros.ros.harness.harness import NodeHarness
from erfnet_ros.ros.harness.node_process import own_node

WIDTH, HEIGHT, RATE_HZ = 640, 480, 15

_TOPICS = ("mask", "confidence", "statistics")
_DISTINCT = 3 * RATE_HZ
"""Frames that are rendered. An answer is matched by its frame's last publication, so it has so long to come."""

_PARTS = 10


@dataclass(frozen=True)
class EnduranceFigures:
    """What became of the node over time.

    Attributes:
        minutes: How long frames were sent.
        sent: Frames published.
        answered: Frames whose mask came back; the node drops what it is too slow for.
        memory_mb: Resident memory of the node at the end of each tenth of the run, 10^6 bytes.
        latency_ms: Stamp to mask received in another process, of each tenth.
    """

    minutes: float
    sent: int
    answered: int
    memory_mb: tuple[float, ...]
    latency_ms: tuple[LatencyStatistics | None, ...]


def measure_endurance(minutes: float, parameters: Mapping[str, str]) -> EnduranceFigures:
    """Send frames to the real node at a camera's rate.

    Args:
        minutes: How long.
        parameters: The node's.
    """
    frames = max(1, round(60 * minutes * RATE_HZ / _PARTS))
    camera = ["--source", "synthetic", "--size", f"{WIDTH}x{HEIGHT}", "--frames", str(_DISTINCT)]
    playback = camera_playback([*camera, "--rate", str(RATE_HZ)])
    memory_mb: list[float] = []
    answered = [0]
    with NodeHarness(own_node(parameters), playback, _TOPICS, lambda *_: None) as harness:
        harness.wait_until_ready()
        assert harness.node is not None
        node = psutil.Process(harness.node.pid)
        for _ in range(_PARTS):
            harness.play([index % _DISTINCT for index in range(frames)], lambda: None)
            memory_mb.append(node.memory_info().rss / 1e6)
            answered.append(harness.tracker.frames_out)
    latencies_ms = harness.tracker.latencies_ms
    parts = [latency_statistics(latencies_ms[first:last]) for first, last in pairwise(answered)]
    return EnduranceFigures(minutes, harness.tracker.frames_in, answered[-1], tuple(memory_mb), tuple(parts))
