"""Latency statistics: percentiles, mean, maximum and jitter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LatencyStatistics:
    """Statistics of durations, milliseconds; the percentiles are interpolated linearly."""

    p50: float
    p90: float
    p99: float
    max: float
    mean: float


def latency_statistics(values_ms: Sequence[float]) -> LatencyStatistics | None:
    """Return the statistics of `values_ms`; None without values."""
    if not len(values_ms):
        return None
    values = np.asarray(values_ms, np.float64)
    p50, p90, p99 = np.percentile(values, (50, 90, 99))
    return LatencyStatistics(float(p50), float(p90), float(p99), float(values.max()), float(values.mean()))


def jitter_ms(latencies_ms: Sequence[float]) -> float | None:
    """Return the mean change of latency from one mask to the next, milliseconds; None below two masks.

    Source: RFC 3550, 6.4.1: the difference D of relative transit times, here averaged evenly over the whole run.
    """
    if len(latencies_ms) < 2:
        return None
    return float(np.abs(np.diff(np.asarray(latencies_ms, np.float64))).mean())
