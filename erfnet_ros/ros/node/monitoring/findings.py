"""Search for the conditions that hold now: of a camera, and of the node's process."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import rclpy
from rclpy.qos import DurabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

from erfnet_ros.core.printable_text import printable
from erfnet_ros.inference.fallback import FallbackEngine
from erfnet_ros.ros import diagnostic_keys as keys
from erfnet_ros.ros.node.monitoring.conditions import Finding
from erfnet_ros.ros.transport import remedy_for_lost_images

if TYPE_CHECKING:
    from erfnet_ros.inference.engine import Engine
    from erfnet_ros.ros.node.camera import Camera

_SIMILAR_TOPICS = 3

_SLOW_PERCENT = 10.0

_UNSURE = 0.75
"""Mean confidence below that of the data. The shipped weights have 0.90 to 0.95 on CamVid's test images and on
synthetic streets, 0.78 where an image is as dark as a tenth, 0.73 where it stands on its head."""

_OLDEST_S, _OLDEST_SIMULATED_S, _FUTURE_S = 1.0, 10.0, 0.2
_RECENT_S = 5.0

_BLOCK_S, _BLOCKS, _GROWTH_MB = 300.0, 6, 50.0

_FREE_SHARE = 0.05


def camera_findings(camera: Camera, now_s: float) -> Iterator[tuple[str, Finding]]:
    """Yield the conditions of `CAMERA_CONDITIONS` that hold for a camera of an active node."""
    node, where = camera.node, {"topic": camera.topic, "image": camera.image}
    publishers = node.get_publishers_info_by_topic(camera.topic)
    types = sorted({printable(publisher.topic_type) for publisher in publishers})
    if not publishers:
        similar = "".join(f"; {topic} has {count} publisher(s)" for topic, count in _similar_topics(camera))
        yield keys.NO_PUBLISHER, Finding({**where, "similar": similar}, camera.subscribed)
    elif camera.type_name not in types:
        got = {"expected": camera.type_name, "got": ", ".join(types)}
        yield keys.WRONG_TYPE, Finding({**where, **got}, camera.subscribed)
    elif camera.subscribed:
        yield from _arrival_findings(camera, publishers, now_s)
    if camera.last_error:
        yield keys.REJECTED, Finding({"reason": camera.last_error}, now_s - camera.segmented_s > _RECENT_S)
    yield from _stamp_findings(camera, now_s)
    if camera.confidence < _UNSURE and now_s - camera.segmented_s < _RECENT_S:
        yield keys.LOW_CONFIDENCE, Finding({**where, "confidence": camera.confidence})
    for publisher in camera.publishers.of_outputs:
        for reader in node.get_subscriptions_info_by_topic(publisher.topic_name):
            if reader.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL:
                yield keys.INCOMPATIBLE_SUBSCRIBER, Finding({"topic": publisher.topic_name})


def _similar_topics(camera: Camera) -> list[tuple[str, int]]:
    """Return topics of the camera's type that others publish, the most similar names first, with their publishers."""
    node = camera.node
    own = {publisher.topic_name for publisher in node.publishers}
    offered = {name for name, types in node.get_topic_names_and_types() if camera.type_name in types} - own
    counts = [(name, count) for name in offered if (count := node.count_publishers(name))]
    return sorted(counts, key=lambda each: -SequenceMatcher(None, each[0], camera.topic).ratio())[:_SIMILAR_TOPICS]


def _arrival_findings(
    camera: Camera, publishers: list[TopicEndpointInfo], now_s: float
) -> Iterator[tuple[str, Finding]]:
    offered = ", ".join(sorted({publisher.qos_profile.reliability.name.lower() for publisher in publishers}))
    remedy = remedy_for_lost_images(rclpy.get_rmw_implementation_identifier())
    where = {"topic": camera.topic, "offered": offered.replace("_", " "), "remedy": remedy}
    arrivals = camera.arrivals
    if silence_s := arrivals.silence_s(now_s, camera.scheduler.idle_s()):
        yield keys.SILENCE, Finding({**where, "silence_s": silence_s})
        return
    window = arrivals.window(now_s)
    if window.too_many_lost:
        fills = {"received": window.received, "sent": window.received + window.lost, "window_s": arrivals.WINDOW_S}
        yield keys.LOSS, Finding({**where, **fills})
    elif window.replaced_percent >= _SLOW_PERCENT:
        yield keys.SLOW, Finding({**where, "percent": window.replaced_percent})


def _stamp_findings(camera: Camera, now_s: float) -> Iterator[tuple[str, Finding]]:
    where = {"topic": camera.topic}
    if now_s - camera.received_s > _RECENT_S:
        return
    age_s = stamp_age_s(camera, now_s)
    oldest_s = _OLDEST_SIMULATED_S if camera.node.get_clock().ros_time_is_active else _OLDEST_S
    if not camera.stamp_ns:
        yield keys.ZERO_STAMPS, Finding(where)
    elif age_s < -_FUTURE_S or age_s > oldest_s:
        age = f"{age_s:.1f} s old" if age_s > 0 else f"stamped {-age_s:.1f} s in the future"
        yield keys.STAMP_AGE, Finding({**where, "age": age})
    if now_s - camera.jumped_s < _RECENT_S:
        yield keys.STAMP_JUMPS, Finding({**where, "back_s": camera.jump_s})


def stamp_age_s(camera: Camera, now_s: float) -> float:
    """Return how old the newest image was when it arrived, on the node's clock; NaN where that has no time."""
    clock = camera.node.get_clock()
    now_ns = clock.now().nanoseconds
    # Simulated time may pass at any rate, so what has passed since the arrival is unknown.
    since_s = 0.0 if clock.ros_time_is_active else now_s - camera.received_s
    return (now_ns - camera.stamp_ns) / 1e9 - since_s if now_ns else math.nan


def camera_figures(camera: Camera, now_s: float) -> dict[str, float]:
    """Return a camera's figures by their keys; NaN where there is none."""
    window = camera.arrivals.window(now_s)
    came = math.isfinite(camera.received_s)
    return {
        **dict(zip((keys.PREPROCESS_MS, keys.INFERENCE_MS, keys.POSTPROCESS_MS), camera.stages_ms, strict=True)),
        keys.STAMP_AGE_S: stamp_age_s(camera, now_s) if came and camera.stamp_ns else math.nan,
        keys.LAST_IMAGE_S: now_s - camera.received_s if came else math.nan,
        keys.CAMERA_RATE_HZ: (window.received + window.missed) / camera.arrivals.WINDOW_S,
        keys.SEGMENTED_RATE_HZ: camera.segmented_rate_hz(now_s),
        keys.REPLACED_PERCENT: window.replaced_percent,
        keys.LOST_PERCENT: window.lost_percent,
        keys.MEAN_CONFIDENCE: camera.confidence,
    }


class MemoryTrend:
    """Tells a process that keeps growing from one whose memory goes up and down."""

    def __init__(self) -> None:
        self._lowest_mb: deque[float] = deque(maxlen=_BLOCKS + 1)
        self._block_end_s = -float("inf")

    def growth_mb(self, memory_mb: float, now_s: float) -> float:
        """Return by how much the lowest value of each `_BLOCK_S` rose in `_BLOCKS` of them; 0 where it ever fell."""
        if now_s >= self._block_end_s:
            self._lowest_mb.append(memory_mb)
            self._block_end_s = now_s + _BLOCK_S
        self._lowest_mb[-1] = min(self._lowest_mb[-1], memory_mb)
        blocks = tuple(self._lowest_mb)
        rises = len(blocks) > _BLOCKS and all(earlier < later for earlier, later in pairwise(blocks))
        return blocks[-1] - blocks[0] if rises else 0.0


def process_memory_mb() -> float:
    """Return this process's resident memory, in 10^6 bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def gpu_memory_mb(device: str) -> tuple[float, float] | None:
    """Return the GPU's free and total memory, of all processes together, in 10^6 bytes; None where nothing tells."""
    if not device.startswith("cuda"):
        return None
    import torch

    try:
        free, total = torch.cuda.mem_get_info(device)
    except (AssertionError, RuntimeError):
        # PyTorch is a build for CPUs next to another engine, or the GPU is gone.
        return None
    return free / 1e6, total / 1e6


def process_findings(
    engine: Engine, growth_mb: float, memory_mb: float, gpu_mb: tuple[float, float] | None
) -> Iterator[tuple[str, Finding]]:
    """Yield the conditions of `NODE_CONDITIONS` that hold."""
    if isinstance(engine, FallbackEngine) and engine.failure:
        yield keys.ENGINE_FALLBACK, Finding({"failure": engine.failure})
    if growth_mb >= _GROWTH_MB:
        minutes = _BLOCK_S * _BLOCKS / 60
        yield keys.MEMORY_GROWTH, Finding({"growth_mb": growth_mb, "minutes": minutes, "memory_mb": memory_mb})
    if gpu_mb is not None and gpu_mb[0] < _FREE_SHARE * gpu_mb[1]:
        yield keys.GPU_MEMORY, Finding({"free_mb": gpu_mb[0], "total_mb": gpu_mb[1], "device": engine.device})
