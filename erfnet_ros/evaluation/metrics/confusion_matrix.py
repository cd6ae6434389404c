"""Confusion matrix, calibration counts, and the metrics computed from both.

Pixels of all frames are pooled before any ratio is taken, as Cityscapes does; a mean over frames is another number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from erfnet_ros.core.array_types import VOID, ConfusionMatrix, Pixels

CALIBRATION_BINS = 15
"""Bins of equal width over the confidence (Guo et al. 2017); level 0 counts as the first's."""

_LEVELS_PER_BIN = VOID // CALIBRATION_BINS

Counts = npt.NDArray[np.int64]


def confusion_matrix(ground_truth: Pixels, labels: Pixels, num_classes: int) -> ConfusionMatrix:
    """Count pixels by true class (rows) and labeled class (columns).

    Args:
        ground_truth: Class ids of any shape, uint8; void pixels (255) are left out altogether.
        labels: Class ids, uint8, same shape; void (255) means "no answer" and counts against the true class.
        num_classes: Number of classes, 1 to 255.

    Returns:
        int64 (num_classes, num_classes + 1); the last column holds true pixels that were labeled void.

    Raises:
        ValueError: The shapes differ, or an id is neither below `num_classes` nor void.
    """
    if ground_truth.shape != labels.shape:
        raise ValueError(f"Expected ground truth and labels of one shape, got {ground_truth.shape} and {labels.shape}.")
    pairs = ground_truth.astype(np.uint16) << 8 | labels
    joint = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)
    for name, counts in (("ground truth", joint.sum(axis=1)), ("labels", joint.sum(axis=0))):
        unknown = [i for i in range(num_classes, VOID) if counts[i]]
        if unknown:
            raise ValueError(f"Expected class ids 0..{num_classes - 1} or void ({VOID}) in {name}, got {unknown}.")
    matrix: ConfusionMatrix = joint[:num_classes, [*range(num_classes), VOID]]
    return matrix


def class_iou(matrix: ConfusionMatrix) -> npt.NDArray[np.float64]:
    """Return intersection over union per class, 0..1; NaN for a class without a ground-truth pixel.

    Source: PASCAL VOC, TP / (TP + FP + FN).
    """
    hits = np.diag(matrix).astype(np.float64)
    true = matrix.sum(axis=1)
    union = true + matrix[:, :-1].sum(axis=0) - hits
    iou = np.full(len(hits), np.nan)
    np.divide(hits, union, out=iou, where=true > 0)
    return iou


def mean_iou(matrix: ConfusionMatrix) -> float | None:
    """Return the mean of `class_iou` over the classes with ground truth, 0..1; None where no class has any.

    A class that is only predicted has no IoU to measure; its pixels count against the classes that they belong to.
    """
    return mean_of_known(class_iou(matrix))


def mean_iou_with_false_classes(matrix: ConfusionMatrix) -> float | None:
    """Return `mean_iou` with a class that is predicted but has no ground truth counted as 0; None without any class."""
    occurs = matrix.sum(axis=1) + matrix[:, :-1].sum(axis=0) > 0
    return float(np.nan_to_num(class_iou(matrix))[occurs].mean()) if matrix.any() else None


def pixel_accuracy(matrix: ConfusionMatrix) -> float | None:
    """Return the share of true pixels that were labeled rightly, 0..1; None where there is no true pixel."""
    total = int(matrix.sum())
    return float(np.trace(matrix) / total) if total else None


def frequency_weighted_iou(matrix: ConfusionMatrix) -> float | None:
    """Return the mean of `class_iou` weighted by the true pixels of each class, 0..1; None where there is none.

    Source: Long et al. 2015, section 5.
    """
    true = matrix.sum(axis=1)
    total = int(true.sum())
    return float((true * np.nan_to_num(class_iou(matrix))).sum() / total) if total else None


def category_matrix(matrix: ConfusionMatrix, category_of: Sequence[int]) -> ConfusionMatrix:
    """Sum rows and columns by category: another class of the same category then is a hit, as Cityscapes scores it.

    Args:
        matrix: (C, C + 1) as `confusion_matrix` returns it.
        category_of: Number of the category of each class, 0 upwards without gaps.

    Returns:
        int64 (K, K + 1) for K categories.
    """
    count = max(category_of) + 1
    result = np.zeros((count, count + 1), np.int64)
    np.add.at(result, np.ix_(category_of, [*category_of, count]), matrix)
    return result


def mean_of_known(values: npt.NDArray[np.float64]) -> float | None:
    """Return the mean of the values that are not NaN; None where all are."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def calibration_counts(ground_truth: Pixels, labels: Pixels, confidence: Pixels) -> Counts:
    """Sort the answered pixels of known ground truth into bins by confidence.

    Args:
        ground_truth: Class ids of any shape, uint8; void pixels (255) are left out.
        labels: Class ids, uint8, same shape; void (255) is no answer, and left out as well.
        confidence: uint8, same shape; 0..255 is 0..1.

    Returns:
        int64 (3, 15): pixels, those of them that were labeled rightly, and the sum of their confidences (0..255 each).
        Bin i holds confidences above i / 15 up to (i + 1) / 15, the first also 0.

    Raises:
        ValueError: The shapes differ.
    """
    if not ground_truth.shape == labels.shape == confidence.shape:
        raise ValueError(
            "Expected ground truth, labels and confidence of one shape, got "
            f"{ground_truth.shape}, {labels.shape} and {confidence.shape}."
        )
    unjudged = (ground_truth == VOID) | (labels == VOID)
    group = (ground_truth == labels).astype(np.uint16) + 2 * unjudged.astype(np.uint16)
    levels = np.bincount((group << 8 | confidence).ravel(), minlength=1024).reshape(4, 256)
    wrong, right = levels[:2]
    rows = np.stack([wrong + right, right, (wrong + right) * np.arange(256)])
    # Level 0 has no bin of its own.
    rows[:, 1] += rows[:, 0]
    counts: Counts = rows[:, 1:].reshape(3, CALIBRATION_BINS, _LEVELS_PER_BIN).sum(axis=2)
    return counts


def expected_calibration_error(counts: Counts) -> float | None:
    """Return how far confidence and share of right answers lie apart on average, 0..1; None where nothing was counted.

    Source: Guo et al. 2017, equation 3: the gap of each bin, weighted by the bin's pixels.

    Args:
        counts: (3, bins) as `calibration_counts` returns it; those of several frames may be added.
    """
    pixels, right, confidences = counts
    total = int(pixels.sum())
    return float(np.abs(right - confidences / VOID).sum() / total) if total else None
