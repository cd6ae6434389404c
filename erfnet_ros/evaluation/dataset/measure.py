"""Score a data set frame by frame, as the robot would see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from erfnet_ros.core.array_types import ConfusionMatrix, Pixels
from erfnet_ros.core.pipelining import Prefetcher
from erfnet_ros.data.datasets import DataSet
from erfnet_ros.data.frame_sources import Frame
from erfnet_ros.evaluation.metrics.segmentation_score import FrameStatistics, Score
from erfnet_ros.inference.segmenter import Segmentation

Segment = Callable[[Pixels], Segmentation]
"""Segments an image (H, W, 3) uint8 RGB, as `Segmenter` does."""

_READ_AHEAD = 4
"""Frames that are decoded while the network is busy."""


@dataclass(frozen=True)
class FrameScore:
    """What one frame of a data set scored, and where to find it again."""

    index: int
    name: str
    statistics: FrameStatistics
    matrix: ConfusionMatrix


@dataclass(frozen=True)
class Confusion:
    """Pixels of one class that were labeled as another, and the frame with most of them."""

    true: str
    labeled: str
    pixels: int
    share: float
    frame: FrameScore


@dataclass(frozen=True)
class Measurement:
    """What a data set scored.

    Attributes:
        frames: Frame by frame; empty where there is no ground truth.
        sizes: The (width, height) that occurred, as they were segmented, in order.
    """

    score: Score
    frames: tuple[FrameScore, ...]
    sizes: tuple[tuple[int, int], ...]

    def best(self, count: int) -> tuple[FrameScore, ...]:
        """Return the frames of the highest mIoU, best first; those without a true pixel are left out."""
        return self._ranked()[::-1][:count]

    def worst(self, count: int) -> tuple[FrameScore, ...]:
        """Return the frames of the lowest mIoU, worst first; those without a true pixel are left out."""
        return self._ranked()[:count]

    def confusions(self, count: int) -> tuple[Confusion, ...]:
        """Return the confusions that cost most IoU: what the two classes would gain if those pixels were right."""
        names, matrix = self.score.class_set.names, self.score.matrix[:, :-1]
        union = np.maximum(self.score.matrix.sum(axis=1) + matrix.sum(axis=0) - matrix.diagonal(), 1)
        cost = matrix / union[:, None] + matrix / union[None, :]
        np.fill_diagonal(cost, 0)
        worst = [divmod(int(place), len(names)) for place in np.argsort(cost, axis=None)[::-1][:count]]
        return tuple(
            Confusion(
                names[true],
                names[labeled],
                int(matrix[true, labeled]),
                float(matrix[true, labeled] / self.score.matrix[true].sum()),
                max(self.frames, key=lambda frame: int(frame.matrix[true, labeled])),
            )
            for true, labeled in worst
            if cost[true, labeled] > 0
        )

    def _ranked(self) -> tuple[FrameScore, ...]:
        known = [
            (frame.statistics.miou, frame.index, frame) for frame in self.frames if frame.statistics.miou is not None
        ]
        return tuple(frame for _, _, frame in sorted(known, key=lambda entry: entry[:2]))


def measure(
    data: DataSet,
    indices: Sequence[int],
    segment: Segment,
    *,
    prepare: Callable[[Frame], Frame] = lambda frame: frame,
    keep: Callable[[Frame, Pixels], None] = lambda frame, labels: None,
) -> Measurement:
    """Segment frames of a data set and compare the labels with its ground truth, where it has any.

    Args:
        indices: Which of them, in this order.
        prepare: What is done to each frame before, such as resizing it.
        keep: What is done with each prepared frame and its labels after.
    """
    score = Score(data.class_set)
    frames = []
    sizes = set()
    with Prefetcher(lambda: (data[index] for index in indices), _READ_AHEAD) as ahead:
        for index, frame in zip(indices, ahead, strict=True):
            prepared = prepare(frame)
            sizes.add((prepared.rgb.shape[1], prepared.rgb.shape[0]))
            found = segment(prepared.rgb)
            if prepared.ground_truth is not None:
                before = score.matrix.copy()
                statistics = score.add(prepared.ground_truth, found.labels, found.confidence)
                frames.append(FrameScore(index, frame.name, statistics, score.matrix - before))
            keep(prepared, found.labels)
    return Measurement(score, tuple(frames), tuple(sorted(sizes)))
