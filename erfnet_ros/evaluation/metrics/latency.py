"""How a duration is spread over the frames of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Percentiles, mean and largest of some durations, milliseconds."""

    p50: float
    p90: float
    p99: float
    max: float
    mean: float


def spread(values_ms: Sequence[float]) -> Spread | None:
    """Return the spread of `values_ms`, percentiles interpolated linearly; None without values."""
    if not len(values_ms):
        return None
    values = np.asarray(values_ms, np.float64)
    p50, p90, p99 = np.percentile(values, (50, 90, 99))
    return Spread(float(p50), float(p90), float(p99), float(values.max()), float(values.mean()))


def jitter_ms(latencies_ms: Sequence[float]) -> float | None:
    """Return the mean change of latency from one answer to the next, milliseconds; None below two answers.

    Source: RFC 3550, 6.4.1: the difference D of relative transit times, here averaged evenly over the whole run.

    Args:
        latencies_ms: In the order of the frames.
    """
    if len(latencies_ms) < 2:
        return None
    return float(np.abs(np.diff(np.asarray(latencies_ms, np.float64))).mean())


@dataclass(frozen=True)
class Percentiles:
    """Latency of some frames, milliseconds."""

    p50: float
    p90: float
    p99: float


def percentiles(values_ms: Sequence[float]) -> Percentiles | None:
    """Return the percentiles of `values_ms`, interpolated linearly; None without values."""
    if not values_ms:
        return None
    p50, p90, p99 = np.percentile(values_ms, (50, 90, 99))
    return Percentiles(float(p50), float(p90), float(p99))
