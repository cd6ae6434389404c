"""Boundary F-score, compared with measuring each pair of boundary pixels, and its tolerance."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from erfnet_ros.core.array_types import VOID
from erfnet_ros.evaluation.metrics.boundary_f_score import boundary_f_scores

Labels = npt.NDArray[np.uint8]


def halves(column: int, width: int = 60, height: int = 80) -> Labels:
    """Class 0 left of a column, class 1 from there on; the diagonal is 100 pixels unless told otherwise."""
    labels = np.zeros((height, width), np.uint8)
    labels[:, column:] = 1
    return labels


def naive(ground_truth: Labels, labels: Labels, class_id: int, tolerance: float) -> float:
    """Compare every boundary pixel of one class with every other, as the definition reads."""
    height, width = ground_truth.shape
    reach = tolerance * math.hypot(height, width)

    def near(pixel: tuple[int, int], others: set[tuple[int, int]]) -> bool:
        return any(math.dist(pixel, other) <= reach + 1e-9 for other in others)

    def boundary(ids: Labels) -> set[tuple[int, int]]:
        found = set()
        for y, x in np.argwhere((ids == class_id) & (ground_truth != VOID)).tolist():
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= v < height and 0 <= u < width and ground_truth[v, u] != VOID and ids[v, u] != class_id:
                    found.add((y, x))
        return found

    void = set(map(tuple, np.argwhere(ground_truth == VOID).tolist()))
    all_true, all_said = boundary(ground_truth), boundary(labels)
    true, said = ({pixel for pixel in pixels if not near(pixel, void)} for pixels in (all_true, all_said))
    if not true | said:
        return math.nan
    precision = sum(near(pixel, all_true) for pixel in said) / max(1, len(said))
    recall = sum(near(pixel, all_said) for pixel in true) / max(1, len(true))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0


@st.composite
def frames(draw: st.DrawFn) -> tuple[Labels, Labels]:
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))
    ids = st.sampled_from([0, 1, 2, VOID])
    return draw(hnp.arrays(np.uint8, shape, elements=ids)), draw(hnp.arrays(np.uint8, shape, elements=ids))


@given(frames(), st.sampled_from([0.0, 0.0075, 0.15, 0.3, 2.0]))
def test_each_boundary_pixel_is_measured_against_all_others(frame: tuple[Labels, Labels], tolerance: float) -> None:
    ground_truth, labels = frame
    expected = [naive(ground_truth, labels, class_id, tolerance) for class_id in range(3)]
    np.testing.assert_allclose(boundary_f_scores(ground_truth, labels, 3, tolerance), expected)


def test_a_boundary_within_the_tolerance_is_met_and_one_beyond_it_is_not() -> None:
    """0.75 % of a diagonal of 400 pixels are 3 pixels."""
    ground_truth, near, far = (halves(column, 240, 320) for column in (100, 103, 104))
    np.testing.assert_array_equal(boundary_f_scores(ground_truth, near, 2), [1, 1])
    np.testing.assert_array_equal(boundary_f_scores(ground_truth, far, 2), [0, 0])


def test_half_a_boundary_by_hand() -> None:
    """The labeled block has 40 boundary pixels on the true line, which is 80 long, and 29 along its lower side."""
    ground_truth = halves(30)
    labels = ground_truth.copy()
    labels[40:] = 0
    scores = boundary_f_scores(ground_truth, labels, 2, tolerance=0)
    precision, recall = 40 / 69, 40 / 80
    assert scores[1] == pytest.approx(2 * precision * recall / (precision + recall))


def test_a_boundary_that_void_may_hide_is_not_judged() -> None:
    """Ground truth often leaves a strip open between two objects: a boundary close to it is nobody's fault."""
    ground_truth = halves(30)
    ground_truth[:, 28:32] = VOID
    assert np.isnan(boundary_f_scores(ground_truth, halves(27), 2, tolerance=0.02)).all()
    np.testing.assert_array_equal(boundary_f_scores(ground_truth, halves(20), 2, tolerance=0.02), [0, 0])


def test_more_classes_than_a_machine_word_has_bits() -> None:
    ground_truth = np.repeat(np.arange(200, dtype=np.uint8), 4).reshape(1, -1).repeat(3, axis=0)
    np.testing.assert_array_equal(boundary_f_scores(ground_truth, ground_truth, 200, tolerance=0), np.ones(200))
    shifted = np.roll(ground_truth, 8, axis=1)
    assert not boundary_f_scores(ground_truth, shifted, 200, tolerance=0)[3:].any()
