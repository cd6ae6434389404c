"""Confusion matrix, IoU and calibration, compared with counting pixel by pixel and with scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix
from torchmetrics.classification import MulticlassCalibrationError, MulticlassJaccardIndex

from erfnet_ros.core.array_types import VOID, ConfusionMatrix
from erfnet_ros.evaluation.metrics.confusion_matrix import (
    calibration_counts,
    category_matrix,
    class_iou,
    confusion_matrix,
    expected_calibration_error,
    frequency_weighted_iou,
    mean_iou,
    pixel_accuracy,
)

Labels = npt.NDArray[np.uint8]


@st.composite
def frames(draw: st.DrawFn) -> tuple[Labels, Labels, int]:
    """Ground truth and labels of one shape with void in both, and the number of classes."""
    num_classes = draw(st.integers(1, 12))
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=6))
    ids = st.sampled_from([*range(num_classes), VOID])
    ground_truth = draw(hnp.arrays(np.uint8, shape, elements=ids))
    labels = draw(hnp.arrays(np.uint8, shape, elements=ids))
    return ground_truth, labels, num_classes


def naive_iou(ground_truth: Labels, labels: Labels, class_id: int) -> float:
    """Intersection over union of one class with ground truth, by sets of pixel positions."""
    known = {i for i, t in enumerate(ground_truth.flat) if t != VOID}
    true = {i for i in known if ground_truth.flat[i] == class_id}
    said = {i for i in known if labels.flat[i] == class_id}
    return len(true & said) / len(true | said) if true else math.nan


def test_a_matrix_by_hand() -> None:
    ground_truth = np.array([[0, 0, 1], [1, 2, VOID]], np.uint8)
    labels = np.array([[0, 1, 1], [VOID, 2, 0]], np.uint8)
    matrix = confusion_matrix(ground_truth, labels, 3)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0]]
    assert class_iou(matrix).tolist() == [1 / 2, 1 / 3, 1]
    assert mean_iou(matrix) == pytest.approx((1 / 2 + 1 / 3 + 1) / 3)
    assert pixel_accuracy(matrix) == 3 / 5


@given(frames())
def test_each_pair_is_counted_once(frame: tuple[Labels, Labels, int]) -> None:
    ground_truth, labels, num_classes = frame
    expected = np.zeros((num_classes, num_classes + 1), np.int64)
    for true, said in zip(ground_truth.flat, labels.flat, strict=True):
        if true != VOID:
            expected[true, num_classes if said == VOID else said] += 1
    matrix = confusion_matrix(ground_truth, labels, num_classes)
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(matrix, expected)


@given(frames())
def test_ratios_equal_those_of_pixel_sets(frame: tuple[Labels, Labels, int]) -> None:
    ground_truth, labels, num_classes = frame
    matrix = confusion_matrix(ground_truth, labels, num_classes)
    expected = [naive_iou(ground_truth, labels, class_id) for class_id in range(num_classes)]
    np.testing.assert_allclose(class_iou(matrix), expected)
    present = [iou for iou in expected if not math.isnan(iou)]
    assert mean_iou(matrix) == (pytest.approx(sum(present) / len(present)) if present else None)
    answers = [said == true for true, said in zip(ground_truth.flat, labels.flat, strict=True) if true != VOID]
    assert pixel_accuracy(matrix) == (pytest.approx(sum(answers) / len(answers)) if answers else None)


def test_the_most_classes_that_bytes_allow() -> None:
    ids = np.arange(256, dtype=np.uint8)
    matrix = confusion_matrix(ids, ids, 255)
    assert matrix.shape == (255, 256)
    assert mean_iou(matrix) == 1


@pytest.mark.parametrize("wrong", ["ground_truth", "labels"])
def test_ids_without_a_class_are_refused_by_name(wrong: str) -> None:
    """CamVid's own void, 11, would otherwise be scored as a class."""
    arrays = {"ground_truth": np.zeros(2, np.uint8), "labels": np.zeros(2, np.uint8)}
    arrays[wrong] = np.array([11, 254], np.uint8)
    with pytest.raises(ValueError, match=rf"0\.\.10 or void \(255\) in {wrong.replace('_', ' ')}, got \[11, 254\]"):
        confusion_matrix(arrays["ground_truth"], arrays["labels"], 11)


def random_frame(num_classes: int, shape: tuple[int, ...] = (90, 120)) -> tuple[Labels, Labels]:
    """Ground truth with void, and labels that are right four times of five; never void, which other libraries lack."""
    rng = np.random.default_rng(7)
    ground_truth = rng.integers(0, num_classes, shape, np.uint8)
    ground_truth[rng.random(shape) < 0.1] = VOID
    labels = np.where(
        (rng.random(shape) < 0.8) & (ground_truth != VOID), ground_truth, rng.integers(0, num_classes, shape)
    )
    return ground_truth, labels.astype(np.uint8)


def test_the_matrix_is_that_of_scikit_learn() -> None:
    ground_truth, labels = random_frame(19)
    known = ground_truth != VOID
    expected = sklearn_confusion_matrix(ground_truth[known], labels[known], labels=range(19))
    np.testing.assert_array_equal(confusion_matrix(ground_truth, labels, 19)[:, :-1], expected)


@pytest.mark.parametrize(("average", "ours"), [("macro", mean_iou), ("weighted", frequency_weighted_iou)])
def test_means_are_those_of_torchmetrics(average: str, ours: Callable[[ConfusionMatrix], float | None]) -> None:
    ground_truth, labels = random_frame(19)
    index = MulticlassJaccardIndex(19, average=average, ignore_index=VOID)  # type: ignore[arg-type]
    expected = float(index(torch.from_numpy(labels).long(), torch.from_numpy(ground_truth).long()))
    assert ours(confusion_matrix(ground_truth, labels, 19)) == pytest.approx(expected, abs=1e-6)


@given(frames(), st.data())
def test_categories_are_the_classes_renamed_before_counting(
    frame: tuple[Labels, Labels, int], data: st.DataObject
) -> None:
    ground_truth, labels, num_classes = frame
    names = data.draw(st.lists(st.integers(0, 3), min_size=num_classes, max_size=num_classes))
    category_of = [sorted(set(names)).index(name) for name in names]
    table = np.full(256, VOID, np.uint8)
    table[:num_classes] = category_of
    expected = confusion_matrix(table[ground_truth], table[labels], len(set(names)))
    np.testing.assert_array_equal(
        category_matrix(confusion_matrix(ground_truth, labels, num_classes), category_of), expected
    )


def test_calibration_by_hand() -> None:
    """Two pixels in the bin up to 1 at mean confidence 0.98, one of them right; one right at 0.2; gaps 0.48 and 0.8."""
    ground_truth = np.array([0, 1, 1, VOID, 1], np.uint8)
    labels = np.array([0, 0, 1, 0, VOID], np.uint8)
    confidence = np.array([255, 245, 51, 255, 255], np.uint8)
    counts = calibration_counts(ground_truth, labels, confidence)
    assert counts.shape == (3, 15)
    assert counts[:, 14].tolist() == [2, 1, 500]
    assert counts[:, 2].tolist() == [1, 1, 51], "0.2 is the upper edge of the third of 15 bins"
    assert counts.sum() == 2 + 1 + 500 + 1 + 1 + 51
    assert expected_calibration_error(counts) == pytest.approx((2 * (500 / 510 - 0.5) + (1 - 0.2)) / 3)


def test_a_confidence_of_zero_lies_in_the_first_bin() -> None:
    zero = np.zeros(3, np.uint8)
    counts = calibration_counts(zero, zero, zero)
    assert counts[:, 0].tolist() == [3, 3, 0]
    assert expected_calibration_error(counts) == 1


def test_the_calibration_error_is_that_of_torchmetrics() -> None:
    ground_truth, labels = random_frame(2)
    known = ground_truth != VOID
    # Confidences of two classes lie above 0.5; multiples of 17 are the bins' edges, which rounding puts anywhere.
    levels = [level for level in range(128, 255) if level % 17]
    confidence = np.random.default_rng(3).choice(levels, ground_truth.shape).astype(np.uint8)
    winner = torch.from_numpy(confidence[known] / 255)
    said = torch.from_numpy(labels[known]).bool()
    probabilities = torch.stack([torch.where(said, 1 - winner, winner), torch.where(said, winner, 1 - winner)], 1)
    theirs = MulticlassCalibrationError(2, n_bins=15, norm="l1")(
        probabilities, torch.from_numpy(ground_truth[known]).long()
    )
    ours = expected_calibration_error(calibration_counts(ground_truth, labels, confidence))
    assert ours == pytest.approx(float(theirs), abs=1e-5)
