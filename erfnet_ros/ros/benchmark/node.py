"""Node benchmark: times of the real node one frame at a time, and its memory and latency at a camera's rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psutil

from erfnet_ros.evaluation.metrics.latency import LatencyStatistics, latency_statistics
from erfnet_ros.ros.harness.file_camera import camera_playback
from erfnet_ros.ros.harness.harness import NodeHarness
from erfnet_ros.ros.harness.node_process import NodeConfig
from erfnet_ros.ros.harness.output_recorder import Arrival, read_header

NODE_SIZES = ((640, 480), (1920, 1080))
WIDTH, HEIGHT, RATE_HZ = 640, 480, 15

_TOPICS = ("mask", "confidence", "statistics")
_DISTINCT, _ENDURANCE_DISTINCT = 4, 3 * RATE_HZ
"""Frames that are rendered."""

_WARM_UP = 3
"""Frames that pay for memory and kernels of a new size; they do not count."""

_PARTS = 10


@dataclass(frozen=True)
class NodeStatistics:
    """Times of the node for frames of one size, measured one at a time, with a subscriber of mask and confidence.

    Attributes:
        overhead_ms: Begin of the callback to last image published, less the time of the engine.
        latency_ms: Stamp to mask received in another process.
    """

    width: int
    height: int
    frames: int
    overhead_ms: LatencyStatistics | None
    inference_ms: LatencyStatistics | None
    latency_ms: LatencyStatistics | None


def measure_node(width: int, height: int, *, frames: int, parameters: Mapping[str, str | float]) -> NodeStatistics:
    """Send frames of one size to the real node, each after the answer to the one before."""
    statistics: dict[int, Any] = {}

    def keep(index: int, arrival: Arrival) -> None:
        if arrival.topic == "statistics":
            statistics[read_header(arrival.message)[0]] = arrival.message

    camera = camera_playback(size=f"{width}x{height}", frames=_DISTINCT)
    with NodeHarness(NodeConfig(parameters), camera, topics=_TOPICS, keep=keep) as harness:
        harness.wait_until_ready()
        for index in range(_WARM_UP + frames):
            if index == _WARM_UP:
                harness.start_window()
            harness.play([index % _DISTINCT], lambda: None)
    measured = [statistics[sent.stamp_ns] for sent in harness.tracker.sent if sent.stamp_ns in statistics]
    return NodeStatistics(
        width,
        height,
        len(measured),
        latency_statistics([message.total_ms - message.inference_ms for message in measured]),
        latency_statistics([message.inference_ms for message in measured]),
        latency_statistics(harness.tracker.latencies_ms),
    )


@dataclass(frozen=True)
class Endurance:
    """State of the node over time.

    Attributes:
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
    """Send frames to the real node at a camera's rate."""
    frames = max(1, round(60 * minutes * RATE_HZ / _PARTS))
    camera = camera_playback(size=f"{WIDTH}x{HEIGHT}", frames=_ENDURANCE_DISTINCT, rate=RATE_HZ)
    memory_mb: list[float] = []
    latencies_ms: list[list[float]] = []
    sent = 0
    with NodeHarness(NodeConfig(parameters), camera, topics=_TOPICS, keep=lambda *_: None) as harness:
        harness.wait_until_ready()
        node = psutil.Process(harness.node_pid())
        for _ in range(_PARTS):
            harness.start_window()
            harness.play([index % _ENDURANCE_DISTINCT for index in range(frames)], lambda: None)
            memory_mb.append(node.memory_info().rss / 1e6)
            sent += harness.tracker.frames_in
            latencies_ms.append(harness.tracker.latencies_ms)
    answered = sum(map(len, latencies_ms))
    return Endurance(minutes, sent, answered, tuple(memory_mb), tuple(map(latency_statistics, latencies_ms)))
