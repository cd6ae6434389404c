"""Temporal consistency: share of the pixels that keep their label from mask to mask."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from erfnet_ros.core.errors import EvaluationError
from erfnet_ros.evaluation.metrics.temporal_consistency import TemporalConsistency, TemporalConsistencyStatistics

NAMES = ("sky", "road")
MASKS = arrays.arrays(np.uint8, (5, 4, 6), elements=st.sampled_from([0, 1, 255]))


def mask(*ids: int) -> npt.NDArray[np.uint8]:
    return np.array([ids], np.uint8)


def test_shares_are_those_counted_by_hand() -> None:
    """Three of four sky pixels stay, the road's pixel becomes void."""
    consistency = TemporalConsistency(2)
    assert consistency.add(mask(0, 0, 0, 0, 1)) is None
    assert consistency.add(mask(0, 0, 0, 1, 255)) == 2 / 5
    assert consistency.statistics(NAMES) == TemporalConsistencyStatistics(1 - 2 / 5, {"sky": 3 / 4, "road": 0.0}, 1)


def test_masks_of_another_size_are_not_compared() -> None:
    consistency = TemporalConsistency(2)
    consistency.add(mask(0, 0))
    assert consistency.add(mask(1)) is None
    assert consistency.statistics(NAMES) == TemporalConsistencyStatistics(None, {"sky": None, "road": None}, 0)


@given(MASKS)
def test_counts_are_those_of_plain_comparisons_and_add_up(masks: npt.NDArray[np.uint8]) -> None:
    whole, first, second = TemporalConsistency(2), TemporalConsistency(2), TemporalConsistency(2)
    for labels in masks:
        whole.add(labels)
    for labels in masks[:3]:
        first.add(labels)
    for labels in masks[2:]:
        second.add(labels)
    statistics = whole.statistics(NAMES)
    assert statistics.share == pytest.approx((masks[1:] == masks[:-1]).mean())
    for index, name in enumerate(NAMES):
        before = masks[:-1] == index
        expected = (masks[1:] == masks[:-1])[before].mean() if before.any() else None
        assert statistics.by_class[name] == (None if expected is None else pytest.approx(expected))
    assert (first + second).statistics(NAMES) == statistics


@given(MASKS)
def test_counts_come_back_from_json(masks: npt.NDArray[np.uint8]) -> None:
    consistency = TemporalConsistency(2)
    for labels in masks:
        consistency.add(labels)
    back = TemporalConsistency.from_dict(json.loads(json.dumps(consistency.to_dict())))
    assert back.to_dict() == consistency.to_dict()


@pytest.mark.parametrize(
    "content",
    [
        None,
        {},
        {"before": [1, 2], "changed": [1, 2]},
        {"before": [1, 2], "changed": [1], "pairs": 1},
        {"before": [1, 2], "changed": [2, 2], "pairs": 1},
        {"before": "x", "changed": [1, 2], "pairs": 1},
    ],
)
def test_damaged_counts_are_refused(content: object) -> None:
    with pytest.raises(EvaluationError, match="Expected"):
        TemporalConsistency.from_dict(content)
