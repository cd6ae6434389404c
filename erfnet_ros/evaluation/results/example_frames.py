"""Example frames of a bag: the best, the worst and the most uncertain, selected while it is evaluated."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.config_schema import decode
from erfnet_ros.visualization.contact_sheet import Sample, labeled_strip
from erfnet_ros.visualization.overlay import blend

BEST, WORST, UNCERTAIN = "best", "worst", "uncertain"
KINDS = (BEST, WORST, UNCERTAIN)

PER_KIND = 4
"""Pictures of each kind in a report."""

_ALPHA = 0.5
_QUALITY = 90
_LARGEST_GAP = 30
_PARTS = 16


@dataclass(frozen=True)
class Candidate:
    """A frame that may come into the report.

    Attributes:
        miou: Of this frame alone, 0..1; None without ground truth.
        confidence: Its mean confidence, 0..1.
        weakest: The classes of the lowest IoU in this frame, 0..1; empty without ground truth.
        jpeg: The strip of image, ground truth, mask and overlay, in base64; empty until it is drawn.
    """

    index: int
    stamp_ns: int
    miou: float | None
    confidence: float
    weakest: Mapping[str, float]
    jpeg: str = ""


@dataclass
class _Held:
    """A candidate, with the pixels (image, ground truth, labels) of a strip that is not drawn yet: a better frame may
    follow at once."""

    value: float
    frame: Candidate
    pixels: tuple[Pixels, Pixels | None, Pixels] | None = None


class ExampleFrames:
    """Keep the few frames that are worth a look; those of one kind lie some way apart, for neighbors look alike.

    Args:
        images: Images in the bag, from which the distance follows.
    """

    def __init__(self, class_set: ClassSet, images: int) -> None:
        self._class_set = class_set
        self._gap = max(1, min(_LARGEST_GAP, images // _PARTS))
        self._held: dict[str, list[_Held]] = {kind: [] for kind in KINDS}

    def add(self, frame: Candidate, *, rgb: Pixels, ground_truth: Pixels | None, labels: Pixels) -> None:
        """Consider a frame, later ones after earlier ones.

        Args:
            frame: Without its strip, which is drawn only if the frame is kept.
            rgb: (H, W, 3) uint8.
            ground_truth: (H, W) uint8 class ids, or None.
            labels: (H, W) uint8 class ids.
        """
        for kind in KINDS:
            if kind == UNCERTAIN or frame.miou is not None:
                held = _Held(value_of(kind, frame), frame, (rgb, ground_truth, labels))
                self._held[kind] = self._with(self._held[kind], held)
            for entry in self._held[kind]:
                if frame.index - entry.frame.index >= self._gap:
                    self._draw(entry)

    def candidates(self) -> dict[str, tuple[Candidate, ...]]:
        """Return what is kept by kind, the best, worst or most uncertain frame first."""
        return {kind: tuple(map(self._draw, held)) for kind, held in self._held.items()}

    def restore(self, candidates: Any) -> None:
        """Continue from what `candidates` returned, as JSON holds it."""
        for kind, kept in decode(dict[str, tuple[Candidate, ...]], candidates, "the example frames").items():
            self._held[kind] = [_Held(value_of(kind, frame), frame) for frame in kept]

    def _with(self, held: list[_Held], new: _Held) -> list[_Held]:
        near = [entry for entry in held if new.frame.index - entry.frame.index < self._gap]
        if any(entry.value <= new.value for entry in near):
            return held
        kept = [*(entry for entry in held if entry not in near), new]
        return sorted(kept, key=lambda entry: (entry.value, entry.frame.index))[:PER_KIND]

    def _draw(self, entry: _Held) -> Candidate:
        """Draw the strip where that is still to be done, and release the pixels."""
        if entry.pixels is not None:
            rgb, ground_truth, labels = entry.pixels
            overlay = blend(rgb, labels, self._class_set.palette(), _ALPHA)
            caption = f"frame {entry.frame.index}, confidence {100 * entry.frame.confidence:.0f} %"
            caption += "" if entry.frame.miou is None else f", mIoU {100 * entry.frame.miou:.0f} %"
            strip = labeled_strip(Sample(caption, rgb, ground_truth, labels, overlay), self._class_set)
            bgr = cv2.cvtColor(strip, cv2.COLOR_RGB2BGR)
            jpeg = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))[1].tobytes()
            entry.frame, entry.pixels = replace(entry.frame, jpeg=base64.b64encode(jpeg).decode("ascii")), None
        return entry.frame


def value_of(kind: str, entry: Candidate) -> float:
    """Return by what candidates of a kind are ranked; the lowest comes first."""
    if kind == UNCERTAIN or entry.miou is None:
        return entry.confidence
    return -entry.miou if kind == BEST else entry.miou
