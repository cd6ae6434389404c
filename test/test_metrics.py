"""The metrics agree with counting pixel by pixel, and say nothing of pixels without truth."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from erfnet_ros.metrics import VOID, class_iou, confusion_matrix, mean_iou, pixel_accuracy

Labels = npt.NDArray[np.uint8]


@st.composite
def frames(draw: st.DrawFn) -> tuple[Labels, Labels, int]:
    """Truth and labels of one shape with void in both, and the number of classes."""
    num_classes = draw(st.integers(1, 12))
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=6))
    ids = st.sampled_from([*range(num_classes), VOID])
    truth = draw(hnp.arrays(np.uint8, shape, elements=ids))
    labels = draw(hnp.arrays(np.uint8, shape, elements=ids))
    return truth, labels, num_classes


def naive_iou(truth: Labels, labels: Labels, class_id: int) -> float:
    """Intersection over union of one class, by sets of pixel positions."""
    known = {i for i, t in enumerate(truth.flat) if t != VOID}
    true = {i for i in known if truth.flat[i] == class_id}
    said = {i for i in known if labels.flat[i] == class_id}
    return len(true & said) / len(true | said) if true | said else math.nan


def test_a_matrix_by_hand() -> None:
    truth = np.array([[0, 0, 1], [1, 2, VOID]], np.uint8)
    labels = np.array([[0, 1, 1], [VOID, 2, 0]], np.uint8)
    matrix = confusion_matrix(truth, labels, 3)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0]]
    assert class_iou(matrix).tolist() == [1 / 2, 1 / 3, 1]
    assert mean_iou(matrix) == pytest.approx((1 / 2 + 1 / 3 + 1) / 3)
    assert pixel_accuracy(matrix) == 3 / 5


@given(frames())
def test_each_pair_is_counted_once(frame: tuple[Labels, Labels, int]) -> None:
    truth, labels, num_classes = frame
    expected = np.zeros((num_classes, num_classes + 1), np.int64)
    for true, said in zip(truth.flat, labels.flat, strict=True):
        if true != VOID:
            expected[true, num_classes if said == VOID else said] += 1
    matrix = confusion_matrix(truth, labels, num_classes)
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(matrix, expected)


@given(frames())
def test_ratios_equal_those_of_pixel_sets(frame: tuple[Labels, Labels, int]) -> None:
    truth, labels, num_classes = frame
    matrix = confusion_matrix(truth, labels, num_classes)
    expected = [naive_iou(truth, labels, class_id) for class_id in range(num_classes)]
    np.testing.assert_allclose(class_iou(matrix), expected)
    present = [iou for iou in expected if not math.isnan(iou)]
    assert mean_iou(matrix) == (pytest.approx(sum(present) / len(present)) if present else None)
    answers = [said == true for true, said in zip(truth.flat, labels.flat, strict=True) if true != VOID]
    assert pixel_accuracy(matrix) == (pytest.approx(sum(answers) / len(answers)) if answers else None)


@given(frames(), st.integers(0, 2**32 - 1))
def test_what_is_said_where_truth_is_void_changes_nothing(frame: tuple[Labels, Labels, int], seed: int) -> None:
    truth, labels, num_classes = frame
    other = labels.copy()
    void = truth == VOID
    other[void] = np.random.default_rng(seed).integers(0, num_classes, void.sum())
    np.testing.assert_array_equal(
        confusion_matrix(truth, labels, num_classes), confusion_matrix(truth, other, num_classes)
    )


@given(frames())
def test_frames_are_pooled_before_any_ratio(frame: tuple[Labels, Labels, int]) -> None:
    """The mean over frames is another number, and not the one that the literature reports."""
    truth, labels, num_classes = frame
    rows = [confusion_matrix(t, s, num_classes) for t, s in zip(truth, labels, strict=True)]
    total = sum(rows, np.zeros((num_classes, num_classes + 1), np.int64))
    np.testing.assert_array_equal(total, confusion_matrix(truth, labels, num_classes))


def test_a_perfect_answer_scores_one_and_absent_classes_do_not_pull_it_down() -> None:
    truth = np.array([[0, 3], [3, VOID]], np.uint8)
    matrix = confusion_matrix(truth, truth, 11)
    assert mean_iou(matrix) == 1
    assert np.isnan(class_iou(matrix)).sum() == 9


def test_a_class_that_is_only_said_counts_as_zero() -> None:
    """A class hallucinated everywhere must not leave the mean untouched."""
    matrix = confusion_matrix(np.array([0, 0], np.uint8), np.array([0, 1], np.uint8), 3)
    np.testing.assert_array_equal(class_iou(matrix), [0.5, 0, np.nan])
    assert mean_iou(matrix) == 0.25


def test_no_answer_counts_against_the_true_class() -> None:
    matrix = confusion_matrix(np.array([0, 0], np.uint8), np.array([0, VOID], np.uint8), 1)
    assert class_iou(matrix).tolist() == [0.5]
    assert pixel_accuracy(matrix) == 0.5


def test_nothing_known_gives_no_score_instead_of_zero() -> None:
    matrix = confusion_matrix(np.full((2, 2), VOID, np.uint8), np.zeros((2, 2), np.uint8), 4)
    assert mean_iou(matrix) is None
    assert pixel_accuracy(matrix) is None


def test_the_most_classes_that_bytes_allow() -> None:
    ids = np.arange(256, dtype=np.uint8)
    matrix = confusion_matrix(ids, ids, 255)
    assert matrix.shape == (255, 256)
    assert mean_iou(matrix) == 1


def test_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one shape, got \(2, 3\) and \(3, 2\)"):
        confusion_matrix(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), 2)


@pytest.mark.parametrize("wrong", ["truth", "labels"])
def test_ids_without_a_class_are_refused_by_name(wrong: str) -> None:
    """CamVid's own void, 11, would otherwise be scored as a class."""
    arrays = {"truth": np.zeros(2, np.uint8), "labels": np.zeros(2, np.uint8)}
    arrays[wrong] = np.array([11, 254], np.uint8)
    with pytest.raises(ValueError, match=rf"0\.\.10 or void \(255\) in {wrong}, got \[11, 254\]"):
        confusion_matrix(arrays["truth"], arrays["labels"], 11)
