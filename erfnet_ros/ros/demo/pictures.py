"""Score and pictures of a demo run."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from erfnet_ros.core.array_types import ConfusionMatrix, Pixels
from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import ErfnetError, ImageError, SourceError
from erfnet_ros.data.frame_sources import Source
from erfnet_ros.evaluation.metrics.confusion_matrix import confusion_matrix, mean_iou
from erfnet_ros.ros.harness.message_store import MessageStore
from erfnet_ros.visualization.contact_sheet import Sample, VideoWriter, contact_sheet, write_png

_PICTURES = 8
"""Frames shown on the contact sheet, and as overlays of their own."""


_ENCODINGS = {
    "mask": (".png", (cv2.IMWRITE_PNG_COMPRESSION, 1)),
    # JPEG of high quality, whose colors have the resolution of the brightness.
    "overlay": (
        ".jpg",
        (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    ),
}
"""How the outputs of a run are stored: a mask without loss."""


def store_output(store: MessageStore, topic: str, *, index: int, pixels: Pixels) -> None:
    """Store the mask, (H, W) uint8 class ids, or the overlay, (H, W, 3) uint8 RGB, of a frame.

    Raises:
        ImageError: OpenCV cannot encode it.
    """
    suffix, options = _ENCODINGS[topic]
    ok, data = cv2.imencode(suffix, np.ascontiguousarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels), options)
    if not ok:
        raise ImageError(f"Expected an image that {suffix} can hold, got shape {pixels.shape}.")
    store.put(topic, index, data.tobytes())


class Results:
    """Outputs of the node, frame by frame, from a store that `store_output` filled.

    Raises:
        ErfnetError: No frame is complete.
    """

    def __init__(self, source: Source, class_set: ClassSet, store: MessageStore) -> None:
        self._source = source
        self._class_set = class_set
        self._store = store
        self.frames = sorted(store.frames(*_ENCODINGS))
        if not self.frames:
            raise ErfnetError(
                "Expected mask and overlay of at least one frame, got none; see node.log in the output folder."
            )

    def score(self) -> ConfusionMatrix | None:
        """Compare the masks with the ground truth, each frame once; None where the source has none."""
        if not self._source.has_ground_truth:
            return None
        return sum((self._confusion(index) for index in self.frames[1:]), self._confusion(self.frames[0]))

    def draw(self, out: Path, *, title: str, subtitle: str, rate_hz: float) -> None:
        """Write overlay PNGs, contact_sheet.png and video.mp4 into an existing folder.

        Where frames are missing, the video runs at less than `rate_hz`, so that it keeps the pace of the source.
        """
        places = np.unique(np.linspace(0, len(self.frames) - 1, _PICTURES).round().astype(int))
        chosen = [self.frames[place] for place in places]
        samples = [self._sample(index) for index in chosen]
        for index, sample in zip(chosen, samples, strict=True):
            write_png(out / f"overlay_{index:04d}.png", sample.overlay)
        write_png(out / "contact_sheet.png", contact_sheet(samples, self._class_set, title=title, subtitle=subtitle))
        with VideoWriter(out / "video.mp4", max(1.0, rate_hz * len(self.frames) / len(self._source))) as video:
            for index in self.frames:
                video.write(self._read("overlay", index))

    def _confusion(self, index: int) -> ConfusionMatrix:
        frame = self._source[index]
        if frame.ground_truth is None:
            raise SourceError(
                f"Expected labels for frame '{frame.name}', got none; add them, or remove the labels folder."
            )
        return confusion_matrix(frame.ground_truth, self._read("mask", index), len(self._class_set))

    def _sample(self, index: int) -> Sample:
        frame, labels = self._source[index], self._read("mask", index)
        caption = frame.name
        if frame.ground_truth is not None:
            miou = mean_iou(confusion_matrix(frame.ground_truth, labels, len(self._class_set)))
            caption += "" if miou is None else f", mIoU {100 * miou:.0f} %"
        return Sample(caption, frame.rgb, frame.ground_truth, labels, self._read("overlay", index))

    def _read(self, topic: str, index: int) -> Pixels:
        """Return what was stored: class ids, or RGB."""
        data = np.frombuffer(self._store.get(topic, index), np.uint8)
        pixels = np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.uint8)
        return pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., ::-1])
