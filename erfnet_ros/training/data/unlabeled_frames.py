"""Frames without labels, which only a teacher trains on."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from erfnet_ros.core.array_types import VOID, Pixels
from erfnet_ros.data.frame_sources import Source
from erfnet_ros.training.data.augmentation import SAMPLES_PER_CLASS, ClassPixelSamples
from erfnet_ros.training.data.frame_store import MemoryFrames


@dataclass(frozen=True)
class UnlabeledFrames:
    """Frames of a source, whose pixels are all void, decoded each time they are needed.

    Attributes:
        size: (width, height) that every frame is scaled to cover and then cropped to, around its center; None keeps
            each frame's own.
    """

    source: Source
    num_classes: int
    size: tuple[int, int] | None

    def __len__(self) -> int:
        return len(self.source)

    def pixels(self, index: int) -> tuple[Pixels, Pixels]:
        """Return image (H, W, 3) and labels (H, W), all void, of one frame."""
        rgb = self.source[index].rgb
        rgb = rgb if self.size is None else _covering(rgb, self.size)
        return rgb, np.full(rgb.shape[:2], VOID, np.uint8)

    def pixel_samples_in(self, index: int, labels: Pixels) -> ClassPixelSamples:
        """Return that no class is known to be anywhere."""
        return np.full((self.num_classes, SAMPLES_PER_CLASS, 2), -1, np.int16)

    def in_memory(self, device: torch.device) -> MemoryFrames:
        """Return all frames in a device's memory; `size` must not be None."""
        images, labels = zip(*(self.pixels(index) for index in range(len(self))), strict=True)
        stacked_images, stacked_labels = (torch.from_numpy(np.stack(part)).to(device) for part in (images, labels))
        samples = tuple(self.pixel_samples_in(index, labels[index]) for index in range(len(self)))
        return MemoryFrames(stacked_images, stacked_labels, samples)


def _covering(rgb: Pixels, size: tuple[int, int]) -> Pixels:
    """Scale an image to cover (width, height) and cut off what is too much on two sides."""
    height, width = rgb.shape[:2]
    factor = max(size[0] / width, size[1] / height)
    scaled = (max(size[0], round(width * factor)), max(size[1], round(height * factor)))
    if scaled != (width, height):
        rgb = cv2.resize(rgb, scaled, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR).astype(
            np.uint8, copy=False
        )
    left, top = (scaled[0] - size[0]) // 2, (scaled[1] - size[1]) // 2
    return np.ascontiguousarray(rgb[top : top + size[1], left : left + size[0]])
