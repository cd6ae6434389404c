"""Latency statistics and jitter of durations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from erfnet_ros.evaluation.metrics.latency import LatencyStatistics, jitter_ms, latency_statistics

MILLISECONDS = st.lists(st.floats(0, 1e5), min_size=1, max_size=50)


def test_percentiles_are_interpolated_linearly() -> None:
    assert latency_statistics([10.0, 20.0, 30.0]) == LatencyStatistics(20.0, 28.0, pytest.approx(29.8), 30.0, 20.0)


def test_nothing_has_no_spread() -> None:
    assert latency_statistics([]) is None


@given(MILLISECONDS)
def test_percentiles_rise_to_the_largest(values: list[float]) -> None:
    found = latency_statistics(values)
    assert found is not None
    assert min(values) <= found.p50 <= found.p90 <= found.p99 <= found.max == max(values)


def test_jitter_is_the_mean_step_from_answer_to_answer() -> None:
    assert jitter_ms([10.0, 13.0, 11.0]) == 2.5


def test_one_answer_has_no_jitter() -> None:
    assert jitter_ms([3.0]) is None


@given(MILLISECONDS, st.floats(0, 1e5))
def test_jitter_does_not_depend_on_a_delay_that_all_share(values: list[float], delay: float) -> None:
    later = [value + delay for value in values]
    assert jitter_ms(later) == pytest.approx(jitter_ms(values), abs=1e-6)
    assert len(values) < 2 or jitter_ms(values) == pytest.approx(np.mean(np.abs(np.diff(values))))
