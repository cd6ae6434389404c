"""Settings of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEFAULT_TOLERANCE_S = 0.005


@dataclass(frozen=True)
class Settings:
    """How bags are evaluated; the same for all bags of a run.

    Attributes:
        image_topic, ground_truth_topic: Name, or None to find it.
        ground_truth_dir: Folder of PNG files instead of a topic.
        tolerance_s: Largest distance of stamps between image and ground truth.
        checkpoint: File, or None for the shipped weights.
        engine, device, precision: As `Segmenter` takes them.
        input_size: (width, height) that the network sees; None follows camera and training.
        threshold: Confidence below which pixels become void, 0..1.
    """

    image_topic: str | None = None
    ground_truth_topic: str | None = None
    ground_truth_dir: Path | None = None
    tolerance_s: float = DEFAULT_TOLERANCE_S
    checkpoint: Path | None = None
    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    input_size: tuple[int, int] | None = None
    threshold: float = 0.0
    boundaries: bool = False

    @property
    def tolerance_ns(self) -> int:
        """The tolerance in whole nanoseconds."""
        return round(self.tolerance_s * 1e9)
