"""Class shares and mean confidences of a mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from erfnet_ros.core.array_types import VOID
from erfnet_ros.evaluation.metrics.class_statistics import class_statistics


def test_shares_and_confidences_of_a_small_mask() -> None:
    labels = np.array([[0, 0, 2, VOID]], np.uint8)
    confidence = np.array([[255, 0, 51, 7]], np.uint8)
    statistics = class_statistics(labels, confidence, 3)
    np.testing.assert_allclose(statistics.shares, [0.5, 0, 0.25])
    np.testing.assert_allclose(statistics.mean_confidences, [0.5, 0, 0.2])
    assert statistics.void_share == pytest.approx(0.25)


@given(data=st.data())
def test_figures_equal_those_of_counting_class_by_class(data: st.DataObject) -> None:
    shape = data.draw(array_shapes(min_dims=2, max_dims=2, max_side=12))
    labels = data.draw(arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 3, 4, VOID])))
    confidence = data.draw(arrays(np.uint8, shape))
    statistics = class_statistics(labels, confidence, 5)
    for index in range(5):
        chosen = confidence[labels == index]
        assert statistics.shares[index] == pytest.approx(len(chosen) / labels.size)
        assert statistics.mean_confidences[index] == pytest.approx(chosen.mean() / 255 if len(chosen) else 0)
    assert statistics.shares.sum() + statistics.void_share == pytest.approx(1)
