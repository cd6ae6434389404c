"""Streaming accuracy: each mask counts from its arrival until the next one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.evaluation.metrics.segmentation_score import Score
from erfnet_ros.evaluation.metrics.streaming_score import latest_arrived, streaming_score

EVENT_TIMES = st.lists(st.integers(0, 40), max_size=8)


def filled(value: int) -> np.ndarray:
    return np.full((2, 3), value, np.uint8)


def test_each_moment_has_the_mask_that_arrived_last_by_then() -> None:
    """Moments 0, 10, 20, 30; masks arrive at 5, 10 and 29."""
    assert latest_arrived([0, 10, 20, 30], [5, 10, 29]) == [None, 1, 1, 2]


@given(EVENT_TIMES, EVENT_TIMES)
def test_it_is_what_a_plain_search_finds(event_times: list[int], arrivals: list[int]) -> None:
    def plain(event_time: int) -> int | None:
        there = [(arrival, index) for index, arrival in enumerate(arrivals) if arrival <= event_time]
        return max(there)[1] if there else None

    assert latest_arrived(event_times, arrivals) == [plain(event_time) for event_time in event_times]


@pytest.mark.parametrize(("delay_ns", "there"), [(0, 4), (1, 3), (10, 3), (11, 2), (1000, 0)])
def test_lateness_costs_accuracy(delay_ns: int, there: int) -> None:
    """The scene changes at every ground truth: a mask that is late is a mask of what was."""
    event_times = [0, 10, 20, 30]
    arrivals = [event_time + delay_ns for event_time in event_times]
    score = streaming_score(
        CAMVID, event_times_ns=event_times, ground_truth_at=filled, arrivals_ns=arrivals, labels_at=filled
    )
    # With any delay the mask that is there by then shows what was one frame before, or there is none yet.
    hits, no_answer = np.trace(score.matrix) // 6, score.matrix[:, -1].sum() // 6
    assert (score.frames, hits, no_answer) == (4, 0 if delay_ns else 4, 4 - there)


def test_before_the_first_mask_and_at_another_size_there_is_no_answer() -> None:
    expected = Score(CAMVID, boundaries=False)
    for _ in range(2):
        expected.add(filled(1), filled(255))
    found = streaming_score(
        CAMVID,
        event_times_ns=[0, 10],
        ground_truth_at=lambda _: filled(1),
        arrivals_ns=[5],
        labels_at=lambda _: np.ones((4, 4), np.uint8),
    )
    assert found == expected
