"""Files of a training run that its report is made of: `history.json` and `evaluation.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from erfnet_ros.core.config_schema import decode, encode
from erfnet_ros.core.errors import SourceError
from erfnet_ros.core.output_files import atomic_output
from erfnet_ros.evaluation.metrics.segmentation_score import Score
from erfnet_ros.training.config.recipe import Recipe

T = TypeVar("T")

HISTORY = "history.json"
EVALUATION = "evaluation.json"


@dataclass(frozen=True)
class CurvePoint:
    """One point of the curves.

    Attributes:
        stage: Name of the recipe's stage, such as encoder or network.
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
        recipe_name: Name of the recipe (paper, modern, or a file's stem).
        recipe: The recipe, with the command line's overrides.
        seed: Of all random choices.
        command: The command line that repeats the run.
        hardware: Hardware, such as "2 cores of AMD EPYC" or "1 x NVIDIA H100".
        versions: Version by library name (erfnet_ros, torch, lightning, python).
        class_names: Names of the classes, by id.
        class_frequencies: Share of the training split's known pixels by class, 0..1, summing to 1.
        steps: Optimization steps taken.
        images: Crops trained on.
        seconds: Time spent in training steps, over all resumptions; without validation and startup.
        images_per_second: `images / seconds`.
        points: The curves, in order of steps.
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
    images_per_second: float
    points: tuple[CurvePoint, ...]

    def write(self, run: Path) -> None:
        """Write `history.json`; the file is complete or not there."""
        write_json(run / HISTORY, self)

    @classmethod
    def read(cls, run: Path) -> History:
        """Read `history.json` of a run's folder.

        Raises:
            SourceError: The file is missing or not JSON.
            ParameterError: It is not what `write` writes.
        """
        return _read(cls, run / HISTORY)


@dataclass(frozen=True)
class FrameResult:
    """One frame of the evaluated split.

    Attributes:
        name: The frame's name.
        miou: mIoU of this frame alone, 0..1.
        picture: PNG strip relative to the run's folder: camera image, ground truth and prediction.
    """

    name: str
    miou: float
    picture: str


@dataclass(frozen=True)
class Evaluation:
    """Score of the finished checkpoint.

    Attributes:
        split: The split that was scored.
        score: Its pixel counts.
        best: Frames of the highest mIoU, best first.
        worst: Frames of the lowest mIoU, worst first.
    """

    split: str
    score: Score
    best: tuple[FrameResult, ...]
    worst: tuple[FrameResult, ...]

    def write(self, run: Path) -> None:
        """Write `evaluation.json`; the file is complete or not there."""
        write_json(run / EVALUATION, self)

    @classmethod
    def read(cls, run: Path) -> Evaluation | None:
        """Read `evaluation.json` of a run's folder; None where the run evaluated nothing.

        Raises:
            SourceError: The file is not JSON.
            ParameterError: It is not what `write` writes.
        """
        return _read(cls, run / EVALUATION) if (run / EVALUATION).exists() else None


def write_json(path: Path, content: object) -> None:
    """Write a dataclass as JSON; it is complete or not there.

    Raises:
        SourceError: The file cannot be written.
    """
    text = json.dumps(encode(content), indent=1, allow_nan=False) + "\n"
    try:
        with atomic_output(path) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SourceError(
            f"Cannot write {path}: {error.strerror}; free some space or choose another folder."
        ) from error


def _read(kind: type[T], path: Path) -> T:
    try:
        return decode(kind, json.loads(path.read_text(encoding="utf-8")), str(path))
    except OSError as error:
        raise SourceError(
            f"Expected a finished training run with {path}, got: {error.strerror}; train first."
        ) from error
    except ValueError as error:
        raise SourceError(f"Expected JSON in {path}, got: {error}; train again.") from error
