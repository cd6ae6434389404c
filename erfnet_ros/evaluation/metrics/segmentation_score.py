"""Segmentation score: counts that add up over frames, processes and machines, and the metrics computed from them."""

from __future__ import annotations

import operator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from erfnet_ros.core.array_types import VOID, ConfusionMatrix, Pixels
from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import ClassSetError, ScoreError
from erfnet_ros.evaluation.metrics import confusion_matrix
from erfnet_ros.evaluation.metrics.boundary_f_score import boundary_f_scores
from erfnet_ros.evaluation.metrics.confusion_matrix import CALIBRATION_BINS

_UNIT = 2**40
"""Boundary F-scores are summed as whole numbers of 1 / 2^40: the sum is the same in whatever order frames come."""

_WEAKEST, _WEAK = 3, 0.5
"""So many classes of a frame are named as its weakest, if their IoU is lower than this."""


@dataclass(frozen=True)
class Calibration:
    """Answered pixels sorted by confidence into 15 bins of equal width; bin i holds those above i / 15.

    Attributes:
        pixels: Pixels in each bin.
        right: Those of them that were labeled rightly.
        confidences: The sum of their confidences, 0..255 each.
    """

    pixels: tuple[int, ...] = (0,) * CALIBRATION_BINS
    right: tuple[int, ...] = (0,) * CALIBRATION_BINS
    confidences: tuple[int, ...] = (0,) * CALIBRATION_BINS

    def __add__(self, other: Calibration) -> Calibration:
        return Calibration(
            *(tuple(map(operator.add, mine, others)) for mine, others in zip(self._rows(), other._rows(), strict=True))
        )

    @property
    def accuracy(self) -> tuple[float | None, ...]:
        """Share of right answers in each bin, 0..1; None for an empty bin."""
        return tuple(r / n if n else None for r, n in zip(self.right, self.pixels, strict=True))

    @property
    def mean_confidence(self) -> tuple[float | None, ...]:
        """Mean confidence in each bin, 0..1; None for an empty bin."""
        return tuple(c / (VOID * n) if n else None for c, n in zip(self.confidences, self.pixels, strict=True))

    @property
    def error(self) -> float | None:
        """Expected calibration error, 0..1; None where nothing was counted."""
        return confusion_matrix.expected_calibration_error(np.array(self._rows(), np.int64))

    def _rows(self) -> tuple[tuple[int, ...], ...]:
        return self.pixels, self.right, self.confidences


@dataclass(frozen=True)
class FrameStatistics:
    """What one frame says by itself.

    Attributes:
        miou: Mean IoU over the classes of this frame, 0..1; None where the frame's ground truth is void altogether.
        pixel_accuracy: Share of its true pixels that were labeled rightly, 0..1; None as above.
        mean_confidence: Mean confidence over all its pixels, 0..1; None where no confidence was given.
        weakest: IoU of up to three classes of the frame's ground truth that lie below one half, the lowest first.
    """

    miou: float | None
    pixel_accuracy: float | None
    mean_confidence: float | None
    weakest: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoreStatistics:
    """What all frames say together, each figure 0..1; None, never NaN, where nothing was there to take it from.

    Attributes:
        miou: Mean of `iou` over the classes with ground truth.
        miou_with_false_classes: The same, a class that is predicted but has no ground truth counting as 0.
        iou: By class name; None for a class without a ground-truth pixel.
        absent: Those classes, which no other mean counts: the pixels falsely predicted as each.
        category_iou: By category name, a confusion within the category being a hit; None where the class set has none.
        category_miou: Its mean over the categories that occur.
        frequency_weighted_iou: Mean of `iou` weighted by true pixels.
        pixel_accuracy: Share of true pixels that were labeled rightly.
        boundary_f: Mean of `boundary_f_by_class` over the classes that have one; None where boundaries were not scored.
        boundary_f_by_class: By class name, the mean over the frames in which the class has a boundary.
        calibration_error: Expected calibration error over 15 bins; None where no confidence was given.
    """

    frames: int
    miou: float | None
    miou_with_false_classes: float | None
    iou: dict[str, float | None]
    absent: dict[str, int]
    category_iou: dict[str, float | None] | None
    category_miou: float | None
    frequency_weighted_iou: float | None
    pixel_accuracy: float | None
    boundary_f: float | None
    boundary_f_by_class: dict[str, float | None]
    calibration_error: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes by name, in plain dicts, lists and numbers."""
        return asdict(self)

    def absent_classes(self) -> str:
        """Return the classes without ground truth as text: `fence (214 false pixels), pole`."""
        return ", ".join(f"{name} ({n} false pixels)" if n else name for name, n in self.absent.items())


class Score:
    """Counts of labels compared with ground truth; Scores of parts of the frames add up to the Score of all, exactly.

    Args:
        boundaries: Whether `add` scores boundaries too; it is the costlier half.

    Attributes:
        matrix: Pixels by true class (rows) and labeled class (columns, the last being "no answer"), int64 (C, C + 1).
        calibration: Pixels by confidence.
    """

    def __init__(self, class_set: ClassSet, boundaries: bool = True) -> None:
        self.class_set = class_set
        self.boundaries = boundaries
        self.matrix: ConfusionMatrix = np.zeros((len(class_set), len(class_set) + 1), np.int64)
        self.frames = 0
        self.calibration = Calibration()
        # Per class: sum of boundary F-scores in _UNITs, and the number of frames in it.
        self._boundary_sums: npt.NDArray[np.int64] = np.zeros((2, len(class_set)), np.int64)

    def add(self, ground_truth: Pixels, labels: Pixels, confidence: Pixels | None = None) -> FrameStatistics:
        """Count one frame, and return its own figures.

        Args:
            ground_truth: (H, W) uint8 class ids; void (255) is not judged.
            labels: (H, W) uint8 class ids; void (255) is "no answer" and counts against the true class.
            confidence: (H, W) uint8, 0..255 for 0..1; None where there is none.

        Raises:
            ValueError: The shapes differ, or an id is neither in the class set nor void.
        """
        matrix = confusion_matrix.confusion_matrix(ground_truth, labels, len(self.class_set))
        mean_confidence = None
        if confidence is not None:
            # The last that may raise: a frame is counted in full or not at all.
            counts = confusion_matrix.calibration_counts(ground_truth, labels, confidence)
            self.calibration += Calibration(*(tuple(row) for row in counts.tolist()))
            mean_confidence = float(confidence.mean() / VOID)
        if self.boundaries:
            scores = boundary_f_scores(ground_truth, labels, len(self.class_set))
            known = ~np.isnan(scores)
            self._boundary_sums[0, known] += np.round(scores[known] * _UNIT).astype(np.int64)
            self._boundary_sums[1] += known
        self.matrix += matrix
        self.frames += 1
        iou = confusion_matrix.class_iou(matrix)
        weakest = {self.class_set.names[i]: float(iou[i]) for i in np.argsort(iou)[:_WEAKEST] if iou[i] < _WEAK}
        return FrameStatistics(
            confusion_matrix.mean_of_known(iou), confusion_matrix.pixel_accuracy(matrix), mean_confidence, weakest
        )

    def __add__(self, other: Score) -> Score:
        """Return the Score of both ones' frames."""
        if self.class_set != other.class_set:
            raise ScoreError(
                f"Expected scores of one class set to add, got '{self.class_set.name}' and '{other.class_set.name}'; "
                "score with one checkpoint and one ground truth."
            )
        if self.boundaries != other.boundaries:
            raise ScoreError("Expected boundaries in both scores to add or in neither, got one; score both alike.")
        total = Score(self.class_set, self.boundaries)
        total.matrix = self.matrix + other.matrix
        total.frames = self.frames + other.frames
        total.calibration = self.calibration + other.calibration
        total._boundary_sums = self._boundary_sums + other._boundary_sums
        return total

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Score) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def statistics(self) -> ScoreStatistics:
        """Return what the counts say."""
        names = self.class_set.names
        iou = confusion_matrix.class_iou(self.matrix)
        categories, category_miou = self._category_iou()
        sums, frames = self._boundary_sums
        boundary_f = np.where((frames > 0) & ~np.isnan(iou), sums / np.maximum(frames, 1) / _UNIT, np.nan)
        return ScoreStatistics(
            frames=self.frames,
            miou=confusion_matrix.mean_iou(self.matrix),
            miou_with_false_classes=confusion_matrix.mean_iou_with_false_classes(self.matrix),
            iou=_by_name(names, iou),
            absent={
                name: int(pixels)
                for name, value, pixels in zip(names, iou, self.matrix[:, :-1].sum(axis=0), strict=True)
                if np.isnan(value)
            },
            category_iou=categories,
            category_miou=category_miou,
            frequency_weighted_iou=confusion_matrix.frequency_weighted_iou(self.matrix),
            pixel_accuracy=confusion_matrix.pixel_accuracy(self.matrix),
            boundary_f=confusion_matrix.mean_of_known(boundary_f),
            boundary_f_by_class=_by_name(names, boundary_f) if self.boundaries else {},
            calibration_error=self.calibration.error,
        )

    def _category_iou(self) -> tuple[dict[str, float | None] | None, float | None]:
        if self.class_set.categories is None:
            return None, None
        names = tuple(dict.fromkeys(self.class_set.categories))
        matrix = confusion_matrix.category_matrix(
            self.matrix, [names.index(name) for name in self.class_set.categories]
        )
        return _by_name(names, confusion_matrix.class_iou(matrix)), confusion_matrix.mean_iou(matrix)

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads, in plain dicts, lists and numbers."""
        return {
            "class_set": self.class_set.to_dict(),
            "boundaries": self._boundary_sums.tolist() if self.boundaries else None,
            "frames": self.frames,
            "matrix": self.matrix.tolist(),
            "calibration": {name: list(row) for name, row in asdict(self.calibration).items()},
        }

    @classmethod
    def from_dict(cls, content: Any) -> Score:
        """Read a Score out of plain dicts, lists and numbers."""
        try:
            score = cls(ClassSet.from_dict(content["class_set"]), content["boundaries"] is not None)
            score.frames = operator.index(content["frames"])
            score.matrix = _counts(content["matrix"], score.matrix.shape)
            if score.boundaries:
                score._boundary_sums = _counts(content["boundaries"], score._boundary_sums.shape)
            bins = Calibration(**{name: tuple(row) for name, row in content["calibration"].items()})
            _counts(bins._rows(), (3, CALIBRATION_BINS))
            score.calibration = bins
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, ClassSetError) as error:
            raise ScoreError(
                f"Expected the counts of a score, got damaged ones ({type(error).__name__}: {error}); score again."
            ) from error
        return score


def _by_name(names: tuple[str, ...], values: npt.NDArray[np.float64]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else float(value) for name, value in zip(names, values, strict=True)}


def _counts(content: Any, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    counts = np.array(content)
    if counts.shape != shape or counts.dtype.kind != "i" or (counts < 0).any():
        raise ValueError(f"expected counts of shape {shape}, got {counts.dtype} of shape {counts.shape}")
    return counts.astype(np.int64)
