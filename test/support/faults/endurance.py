"""Endurance run: a node at a camera's rate through random faults, its figures second by second, and their slopes."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from support.faults.rig import Rig
from support.faults.table import ON_ONE_NODE, Outcome, measure

FAULTS = ON_ONE_NODE[:10]
"""Those that neither end the node nor load its engine again: the figures are those of one process."""

EFFORT = 0.01
PAUSE_S = (3.0, 15.0)
"""Seconds between two faults."""

_IDLE_S = 10.0


@dataclass(frozen=True)
class Sample:
    """The node's process at a moment: memory in 10^6 bytes, median of stamp to mask since the sample before."""

    at_s: float
    memory_mb: float
    threads: int
    descriptors: int
    latency_ms: float


@dataclass(frozen=True)
class Run:
    """What an endurance run saw.

    Attributes:
        faults: Second of each fault, and what became of it.
        latencies_ms: Seconds and stamp to mask of each frame outside of faults.
        idle_percent: Processor time of the node while no camera publishes, percent of a core.
    """

    samples: tuple[Sample, ...]
    faults: tuple[tuple[float, Outcome], ...]
    latencies_ms: tuple[tuple[float, float], ...]
    idle_percent: float


def endure(rig: Rig, seconds: float, seed: int = 0) -> Run:
    """Run a node through faults for a time; its camera must publish."""
    draw, process, start_s = random.Random(seed), rig.node(), time.monotonic()
    samples: list[Sample] = []
    faults: list[tuple[float, Outcome]] = []
    latencies: list[tuple[float, float]] = []
    due_s = draw.uniform(*PAUSE_S)
    masks = rig.masks()
    while (now_s := time.monotonic() - start_s) < seconds:
        if now_s >= due_s:
            faults.append((now_s, measure(rig, draw.choice(FAULTS), EFFORT)))
            # Half a second for what it left in the queues.
            rig.start_camera()
            rig.recovery_s(time.time_ns())
            due_s = time.monotonic() - start_s + draw.uniform(*PAUSE_S)
        before = len(masks)
        rig.client.spin_for(1.0)
        fresh = [(mask.at_ns - mask.stamp_ns) / 1e6 for mask in masks[before:]]
        at_s = time.monotonic() - start_s
        latencies += [(at_s, latency) for latency in fresh]
        middle = float(np.median(fresh)) if fresh else float("nan")
        memory_mb = process.memory_info().rss / 1e6
        samples.append(Sample(at_s, memory_mb, process.num_threads(), process.num_fds(), middle))
    rig.kill_camera()
    rig.client.spin_for(3.0)
    process.cpu_percent()
    rig.client.spin_for(_IDLE_S)
    return Run(tuple(samples), tuple(faults), tuple(latencies), process.cpu_percent())


def slope_per_h(seconds: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Return by how much values grow an hour, and twice the standard error of that, after a fifth for warming up.

    Theil's estimator: the median of the slopes between the means of twelve parts, which one step does not move.
    """
    first = len(values) // 5
    parts = [part for part in np.array_split(np.arange(first, len(values)), 12) if len(part)]
    x = np.array([np.mean([seconds[index] for index in part]) for part in parts]) / 3600
    y = np.array([np.mean([values[index] for index in part]) for part in parts])
    slopes = [(y[b] - y[a]) / (x[b] - x[a]) for a in range(len(x)) for b in range(a + 1, len(x))]
    if not slopes:
        return 0.0, float("inf")
    spread = 1.4826 * np.median(np.abs(slopes - np.median(slopes)))
    return float(np.median(slopes)), float(2 * spread / np.sqrt(len(x)))
