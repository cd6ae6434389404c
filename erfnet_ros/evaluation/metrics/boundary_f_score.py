"""Boundary F-score: how well the boundaries of the classes match."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from erfnet_ros.core.array_types import VOID, Pixels

TOLERANCE = 0.0075
"""How far two boundaries may lie apart and still agree, as a share of the image's diagonal (Csurka et al. 2013)."""

_CLASSES_AT_ONCE = 64
"""One bit each."""

Mask = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Outline:
    """Class ids (H, W) uint8, and which of the pixels lie on a boundary of their class."""

    ids: Pixels
    edge: Mask


def boundary_f_scores(ground_truth: Pixels, labels: Pixels, num_classes: int, tolerance: float = TOLERANCE) -> Scores:
    """Return how well the outline of each class is met in one frame, 0..1.

    A pixel is on the boundary of its class where one of its four neighbors has another class or, in `labels`, none;
    the image's edge is no boundary. Precision is the share of a class's labeled boundary that lies within the
    tolerance of its true one, recall the reverse, and F = 2 PR / (P + R). Where the ground truth is void, so is its
    boundary: a neighbor there makes none, and boundary pixels within the tolerance of void are not judged.

    Source: Csurka et al. 2013, "What is a good evaluation measure for semantic segmentation?".

    Args:
        ground_truth: (H, W) uint8, ids below `num_classes` or void (255).
        labels: (H, W) uint8, ids below `num_classes` or no answer (255).
        num_classes: Number of classes, 1 to 255.
        tolerance: Euclidean distance, as a share of the image's diagonal.

    Returns:
        float64 (num_classes,); 0 for a class of whose boundary nothing is met, NaN for one that has no judged boundary
        in ground truth nor labels.
    """
    height, width = ground_truth.shape
    reach_squared = math.floor(tolerance**2 * (height**2 + width**2) + 1e-9)
    known = ground_truth != VOID
    judged = known if known.all() else _spread((~known).astype(np.uint8), reach_squared) == 0
    true, said = _outline(ground_truth, known), _outline(labels, known)
    true_pixels, found = _met(true, said, judged, num_classes=num_classes, reach_squared=reach_squared)
    said_pixels, right = _met(said, true, judged, num_classes=num_classes, reach_squared=reach_squared)
    scores = np.where(true_pixels + said_pixels > 0, 0.0, np.nan)
    precision, recall = right / np.maximum(said_pixels, 1), found / np.maximum(true_pixels, 1)
    np.divide(2 * precision * recall, precision + recall, out=scores, where=precision + recall > 0)
    return scores


def _outline(ids: Pixels, known: Mask) -> _Outline:
    """Mark the pixels with a class that have a known neighbor of another id."""
    edge = np.zeros(ids.shape, bool)
    across = (ids[:, 1:] != ids[:, :-1]) & known[:, 1:] & known[:, :-1]
    down = (ids[1:] != ids[:-1]) & known[1:] & known[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return _Outline(ids, edge & (ids != VOID))


def _met(
    own: _Outline, other: _Outline, judged: Mask, *, num_classes: int, reach_squared: int
) -> tuple[Counts, Counts]:
    """Count own judged boundary pixels per class, and those that lie near the other's boundary of the same class."""
    at = np.flatnonzero(own.edge & judged)
    ids = own.ids.ravel()[at]
    met = np.zeros(len(at), bool)
    others = np.flatnonzero(other.edge)
    for first in range(0, num_classes, _CLASSES_AT_ONCE):
        bits = _class_bits(first, min(first + _CLASSES_AT_ONCE, num_classes))
        field = np.zeros(other.ids.shape, bits.dtype)
        field.ravel()[others] = bits[other.ids.ravel()[others]]
        met |= (_spread(field, reach_squared).ravel()[at] & bits[ids]) != 0
    return np.bincount(ids, minlength=num_classes), np.bincount(ids[met], minlength=num_classes)


def _class_bits(first: int, last: int) -> npt.NDArray[np.unsignedinteger]:
    """Return (256,) a bit of its own for each id from `first` to `last` - 1, 0 for others, in the smallest type."""
    kind = next(kind for kind in (np.uint8, np.uint16, np.uint32, np.uint64) if 8 * kind().itemsize >= last - first)
    bits = np.zeros(256, kind)
    bits[first:last] = [1 << i for i in range(last - first)]
    return bits


def _spread(field: npt.NDArray[np.unsignedinteger], reach_squared: int) -> npt.NDArray[np.unsignedinteger]:
    """Return at each pixel the bits of all pixels within the distance: all classes are widened by one disk at once.

    Args:
        field: (H, W) bits.
        reach_squared: Square of the disk's radius, pixels.
    """
    result = np.zeros_like(field)
    wide, half = field.copy(), 0
    for dy in range(math.isqrt(reach_squared), -1, -1):
        # The disk's rows grow towards its middle, each out of the one before.
        while half < math.isqrt(reach_squared - dy**2):
            half += 1
            wide[:, half:] |= field[:, :-half]
            wide[:, :-half] |= field[:, half:]
        result[dy:] |= wide[: max(0, len(wide) - dy)]
        if dy:
            result[:-dy] |= wide[dy:]
    return result
