"""The confusion matrix and everything read off it.

Pixels of all frames are pooled before any ratio is taken, as Cityscapes does; a mean over frames is another number.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

VOID = 255
"""Id of a pixel without a class, in every label array inside this package."""

ConfusionMatrix = npt.NDArray[np.int64]


def confusion_matrix(truth: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8], num_classes: int) -> ConfusionMatrix:
    """Count pixels by true class (rows) and labelled class (columns).

    Args:
        truth: Class ids of any shape, uint8; void pixels (255) are left out altogether.
        labels: Class ids, uint8, same shape; void (255) means "no answer" and counts against the true class.
        num_classes: Number of classes, 1 to 255.

    Returns:
        int64 (num_classes, num_classes + 1); the last column holds true pixels that were labelled void.

    Raises:
        ValueError: The shapes differ, or an id is neither below `num_classes` nor void.
    """
    if truth.shape != labels.shape:
        raise ValueError(f"Expected truth and labels of one shape, got {truth.shape} and {labels.shape}.")
    for name, ids in (("truth", truth), ("labels", labels)):
        counts = np.bincount(ids.ravel(), minlength=256)
        unknown = [i for i in range(num_classes, VOID) if counts[i]]
        if unknown:
            raise ValueError(f"Expected class ids 0..{num_classes - 1} or void ({VOID}) in {name}, got {unknown}.")
    columns = num_classes + 1
    known = truth != VOID
    column = np.minimum(labels[known], num_classes).astype(np.int64)
    pairs = truth[known].astype(np.int64) * columns + column
    return np.bincount(pairs, minlength=num_classes * columns).reshape(num_classes, columns)


def class_iou(matrix: ConfusionMatrix) -> npt.NDArray[np.float64]:
    """Return intersection over union per class, 0..1; NaN for a class that neither truth nor labels hold.

    Source: PASCAL VOC, TP / (TP + FP + FN).
    """
    hits = np.diag(matrix).astype(np.float64)
    union = matrix.sum(axis=1) + matrix[:, :-1].sum(axis=0) - hits
    iou = np.full(len(hits), np.nan)
    np.divide(hits, union, out=iou, where=union > 0)
    return iou


def mean_iou(matrix: ConfusionMatrix) -> float | None:
    """Return the mean of `class_iou` over the classes that occur, 0..1; None where no class occurs."""
    iou = class_iou(matrix)
    present = iou[~np.isnan(iou)]
    return float(present.mean()) if len(present) else None


def pixel_accuracy(matrix: ConfusionMatrix) -> float | None:
    """Return the share of true pixels that were labelled rightly, 0..1; None where there is no true pixel."""
    total = int(matrix.sum())
    return float(np.trace(matrix) / total) if total else None
