"""Score and pictures of a run, once everything is back."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from erfnet_ros.core.array_types import ConfusionMatrix
from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import ErfnetError, SourceError
from erfnet_ros.data.frame_sources import Source
from erfnet_ros.evaluation.metrics.confusion_matrix import confusion_matrix, mean_iou
from erfnet_ros.ros.demo.mask_store import MaskStore
from erfnet_ros.visualization.contact_sheet import Sample, VideoWriter, contact_sheet, write_png

_PICTURES = 8
"""Frames shown on the contact sheet, and as overlays of their own."""


class Results:
    """What came back, frame by frame.

    Args:
        source: What the camera played.
        class_set: Of the checkpoint that the node ran.
        store: Masks and overlays as the node published them.

    Raises:
        ErfnetError: No frame is complete.
    """

    def __init__(self, source: Source, class_set: ClassSet, store: MaskStore) -> None:
        self._source = source
        self._class_set = class_set
        self._store = store
        self.frames = store.complete()
        if not self.frames:
            raise ErfnetError(
                "Expected mask and overlay of at least one frame, got none; see node.log in the output folder."
            )

    def score(self) -> ConfusionMatrix | None:
        """Hold every mask against the truth, each frame once; None where the source has no truth."""
        if not self._source.has_truth:
            return None
        return sum((self._confusion(index) for index in self.frames[1:]), self._confusion(self.frames[0]))

    def draw(self, out: Path, title: str, subtitle: str, rate_hz: float) -> None:
        """Write overlay PNGs, contact_sheet.png and video.mp4.

        Args:
            out: An existing folder.
            title: Headline of the contact sheet.
            subtitle: Line below it.
            rate_hz: Rate of the source; where frames are missing the video runs at as much less, and keeps the pace.
        """
        places = np.unique(np.linspace(0, len(self.frames) - 1, _PICTURES).round().astype(int))
        chosen = [self.frames[place] for place in places]
        samples = [self._sample(index) for index in chosen]
        for index, sample in zip(chosen, samples, strict=True):
            write_png(out / f"overlay_{index:04d}.png", sample.overlay)
        write_png(out / "contact_sheet.png", contact_sheet(samples, self._class_set, title, subtitle))
        with VideoWriter(out / "video.mp4", max(1.0, rate_hz * len(self.frames) / len(self._source))) as video:
            for index in self.frames:
                video.write(self._store.overlay(index))

    def _confusion(self, index: int) -> ConfusionMatrix:
        frame = self._source[index]
        if frame.truth is None:
            raise SourceError(
                f"Expected labels for frame '{frame.name}', got none; add them, or remove the labels folder."
            )
        return confusion_matrix(frame.truth, self._store.labels(index), len(self._class_set))

    def _sample(self, index: int) -> Sample:
        frame, labels = self._source[index], self._store.labels(index)
        caption = frame.name
        if frame.truth is not None:
            miou = mean_iou(confusion_matrix(frame.truth, labels, len(self._class_set)))
            caption += "" if miou is None else f", mIoU {100 * miou:.0f} %"
        return Sample(caption, frame.rgb, frame.truth, labels, self._store.overlay(index))
