"""Files behind the report of a training run: `history.json` and `evaluation.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from erfnet_ros.core.config_schema import decode, to_json
from erfnet_ros.core.errors import SourceError
from erfnet_ros.core.output_files import write_file
from erfnet_ros.evaluation.metrics.segmentation_score import Score
from erfnet_ros.training.config.recipe import Recipe

T = TypeVar("T")

HISTORY = "history.json"
EVALUATION = "evaluation.json"


@dataclass(frozen=True)
class CurvePoint:
    """One point of the curves.

    Attributes:
        step: Optimization steps taken since the run began, all stages counted together.
        loss: Mean training loss since the point before.
        learning_rate: Rate of the step that was just taken.
        val_miou: mIoU on the validation frames, 0..1; None where nothing was validated at this step.
        images_per_second: Crops trained on per second since the last line of the log; left out of comparisons.
        gpu_utilization: Share of that time that the first process's GPU was busy, 0..1; None where it is not known.
    """

    stage: str
    step: int
    loss: float
    learning_rate: float
    val_miou: float | None
    images_per_second: float | None = field(default=None, compare=False)
    gpu_utilization: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class History:
    """Course of a run.

    Attributes:
        data: Training data in words: data set, split, number of frames.
        validated_on: Name of the split behind `val_miou`; None where there was no validation.
        recipe_name: paper, modern, or a file's stem.
        recipe: With the command line's overrides.
        hardware: Such as "2 cores of AMD EPYC" or "1 x NVIDIA H100".
        versions: Version by library name (erfnet_ros, torch, lightning, python).
        class_frequencies: Share of the training split's known pixels by class, 0..1, summing to 1.
        images: Crops trained on.
        seconds: Time spent in training steps, over all resumptions; without validation and startup.
    """

    data: str
    validated_on: str | None
    recipe_name: str
    recipe: Recipe
    seed: int
    command: str
    hardware: str
    versions: Mapping[str, str]
    class_names: tuple[str, ...]
    class_frequencies: tuple[float, ...]
    steps: int
    images: int
    seconds: float
    points: tuple[CurvePoint, ...]

    def write(self, run: Path) -> None:
        """Write `history.json` into a run's folder."""
        write_file(run / HISTORY, to_json(self))

    @classmethod
    def read(cls, run: Path) -> History:
        """Read `history.json` of a run's folder; raise SourceError or ParameterError where it is missing or damaged."""
        return _read(cls, run / HISTORY)


@dataclass(frozen=True)
class FrameResult:
    """One frame of the evaluated split.

    Attributes:
        miou: mIoU of this frame alone, 0..1.
        picture: PNG strip relative to the run's folder: camera image, ground truth and prediction.
    """

    name: str
    miou: float
    picture: str


@dataclass(frozen=True)
class Evaluation:
    """Score of the finished checkpoint, frames of the highest mIoU, best first, and of the lowest, worst first."""

    split: str
    score: Score
    best: tuple[FrameResult, ...]
    worst: tuple[FrameResult, ...]

    def write(self, run: Path) -> None:
        """Write `evaluation.json` into a run's folder."""
        write_file(run / EVALUATION, to_json(self))

    @classmethod
    def read(cls, run: Path) -> Evaluation | None:
        """Read `evaluation.json` as `History.read` does; None where the run evaluated nothing."""
        return _read(cls, run / EVALUATION) if (run / EVALUATION).exists() else None


def _read(kind: type[T], path: Path) -> T:
    try:
        return decode(kind, json.loads(path.read_text(encoding="utf-8")), str(path))
    except OSError as error:
        raise SourceError(
            f"Expected a finished training run with {path}, got: {error.strerror}; train first."
        ) from error
    except ValueError as error:
        raise SourceError(f"Expected JSON in {path}, got: {error}; train again.") from error
