"""How fast a run trains, and how busy its GPU is."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

_LOOK_S = 1.0
"""The driver averages over up to a second."""


@dataclass(frozen=True)
class Throughput:
    """Means over a period.

    Attributes:
        images_per_second: Crops trained on, over all processes.
        gpu_utilization: Share of the time that this process's GPU was busy, 0..1; None where it is not known.
    """

    images_per_second: float
    gpu_utilization: float | None

    def texts(self) -> dict[str, str]:
        """Return each figure for people by its name."""
        texts = {"images/s": f"{self.images_per_second:.1f}"}
        if self.gpu_utilization is not None:
            texts["GPU"] = f"{100 * self.gpu_utilization:.0f} %"
        return texts


class ThroughputMeter:
    """Measure one period after the other."""

    def __init__(self) -> None:
        self._known = True
        self.begin(0)

    def begin(self, images: int) -> None:
        """Begin a period; `images` have been trained on so far."""
        self._began = time.monotonic()
        self._looked = self._began
        self._images = images
        self._busy: list[float] = []

    @property
    def seconds(self) -> float:
        """Length of the period so far."""
        return time.monotonic() - self._began

    def look(self, device: torch.device) -> None:
        """Look at a GPU, at most once a second: asking takes longer than a small step."""
        now = time.monotonic()
        if device.type != "cuda" or not self._known or now - self._looked < _LOOK_S:
            return
        self._looked = now
        try:
            self._busy.append(torch.cuda.utilization(device) / 100)
        except Exception:
            # No nvidia-ml-py, no driver, a part of a GPU (MIG): each raises its own error, and training needs none.
            self._known = False

    def throughput(self, images: int) -> Throughput:
        """Return the means over the period, at whose end `images` have been trained on."""
        busy = sum(self._busy) / len(self._busy) if self._busy else None
        return Throughput((images - self._images) / max(1e-9, self.seconds), busy)
