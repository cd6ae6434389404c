"""Temporal consistency: share of the pixels that keep their label from one mask to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from erfnet_ros.core.array_types import VOID, Pixels
from erfnet_ros.core.errors import EvaluationError


@dataclass(frozen=True)
class TemporalConsistencyStatistics:
    """Label changes over all pairs of consecutive masks.

    Attributes:
        share: Pixels that keep their label / pixels, pooled over all pairs, 0..1; None without a pair.
        by_class: By class name: of the pixels with the class in the earlier mask, the share that has it in the later
            one, 0..1; None for a class that no earlier mask held.
        pairs: Pairs of masks that were compared.
    """

    share: float | None
    by_class: dict[str, float | None]
    pairs: int


class TemporalConsistency:
    """Compare each mask with the one before it; cheap to add to, mergeable, and JSON round trip.

    Masks follow each other as a consumer sees them: a frame without an answer in between leaves no gap. Motion changes
    labels as well, so the figure compares networks on one bag, and is below 1 for a perfect one too.
    """

    def __init__(self, num_classes: int) -> None:
        # The last place counts void.
        self.before = np.zeros(num_classes + 1, np.int64)
        self.changed = np.zeros(num_classes + 1, np.int64)
        self.pairs = 0
        self.last: Pixels | None = None

    def add(self, labels: Pixels) -> float | None:
        """Compare a mask with the one before.

        Args:
            labels: (H, W) uint8 class ids, void 255; kept until the next call, not copied.

        Returns:
            Share of its pixels whose label changed, 0..1; None for the first mask and where the size is another.
        """
        last, self.last = self.last, labels
        if last is None or last.shape != labels.shape:
            return None
        different = cv2.compare(last, labels, cv2.CMP_NE)
        self.before += self._counts(last, None)
        self.changed += self._counts(last, different)
        self.pairs += 1
        return cv2.countNonZero(different) / labels.size

    def _counts(self, labels: Pixels, where: Any) -> npt.NDArray[np.int64]:
        # float32 counts are exact up to 16.7 million pixels, the most that an image may have.
        counts = cv2.calcHist([labels], [0], where, [256], [0, 256]).ravel().astype(np.int64)
        return np.append(counts[: len(self.before) - 1], counts[VOID])

    def __add__(self, other: TemporalConsistency) -> TemporalConsistency:
        """Return the sum of both counts; the last masks are of different bags and are not compared."""
        total = TemporalConsistency(len(self.before) - 1)
        total.before, total.changed = self.before + other.before, self.changed + other.changed
        total.pairs = self.pairs + other.pairs
        return total

    def statistics(self, names: tuple[str, ...]) -> TemporalConsistencyStatistics:
        """Return the shares, by the names of the classes in the order of their ids."""
        total = int(self.before.sum())
        by_class = {
            name: 1 - int(changed) / int(before) if before else None
            for name, before, changed in zip(names, self.before[:-1], self.changed[:-1], strict=True)
        }
        return TemporalConsistencyStatistics(
            1 - int(self.changed.sum()) / total if total else None, by_class, self.pairs
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the counts in plain lists; not the last mask."""
        return {"before": self.before.tolist(), "changed": self.changed.tolist(), "pairs": self.pairs}

    @classmethod
    def from_dict(cls, content: Any) -> TemporalConsistency:
        """Read what `to_dict` gave."""
        try:
            before, changed = (np.array(content[key], np.int64) for key in ("before", "changed"))
            pairs = int(content["pairs"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise EvaluationError(f"Expected before, changed and pairs of label changes, got {error!r}.") from error
        if before.shape != changed.shape or before.ndim != 1 or len(before) < 2 or (changed > before).any():
            raise EvaluationError("Expected two lists of counts of one length, changed no more than before.")
        consistency = cls(len(before) - 1)
        consistency.before, consistency.changed, consistency.pairs = before, changed, pairs
        return consistency
