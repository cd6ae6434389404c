"""Training recipes: everything except the data that decides a run's result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import erfnet_ros
from erfnet_ros.core.config_schema import build, ranged, read_mapping
from erfnet_ros.core.errors import ParameterError

BUILT_IN = ("paper", "modern", "camvid_cpu", "camvid_cpu_further", "camvid_cpu_finish", "camvid_cpu_robust", "finetune")
DEFAULT = "modern"


@dataclass(frozen=True)
class Phase:
    """Steps at one crop size; early phases may be small and cheap.

    Attributes:
        steps: Length in optimization steps; null where `epochs` is given.
        epochs: Length in passes over the training frames; null where `steps` is given.
        crop: (width, height) of the crops in pixels, or `frame` for whole frames.
        scale: Smallest and largest magnification of the frame; drawn log-uniformly.
        aspect_jitter: Largest change of the aspect ratio, as a natural logarithm of the factor on each axis.
        shift: Largest shift along each axis, whole pixels.
        horizontal_flip: Whether half of the crops are flipped left to right.
        rare_class_fraction: Share of the crops that are centered near a pixel of one of the frame's rarer classes.
        color_jitter: Largest relative change of brightness, contrast and saturation.
        tint: Largest change of each color channel, as a natural logarithm of its factor.
        blur: Largest standard deviation of the Gaussian blur that half of the crops get, pixels.
        noise: Largest standard deviation of the noise on each color value, where white is 1.
        paste_fraction: Share of the crops onto which rare classes are pasted from another crop of the batch.
        dropout: Rate of all the encoder's dropout layers; null keeps the paper's 0.3 and 0.03.
    """

    steps: int | None = ranged(1, 10_000_000, None)
    epochs: int | None = ranged(1, 100_000, None)
    crop: tuple[int, int] | Literal["frame"] = ranged(16, 4096, "frame")
    scale: tuple[float, float] = ranged(0.25, 4.0, (1.0, 1.0))
    aspect_jitter: float = ranged(0.0, 0.5, 0.0)
    shift: int = ranged(0, 64, 0)
    horizontal_flip: bool = True
    rare_class_fraction: float = ranged(0.0, 1.0, 0.0)
    color_jitter: float = ranged(0.0, 0.9, 0.0)
    tint: float = ranged(0.0, 0.9, 0.0)
    blur: float = ranged(0.0, 2.0, 0.0)
    noise: float = ranged(0.0, 0.5, 0.0)
    paste_fraction: float = ranged(0.0, 1.0, 0.0)
    dropout: float | None = ranged(0.0, 0.9, None)

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ParameterError(
                f"Expected either steps or epochs in each phase, got steps: {self.steps}, epochs: {self.epochs}."
            )
        if self.scale[0] > self.scale[1]:
            raise ParameterError(f"Expected scale as [smallest, largest], got {list(self.scale)}.")


@dataclass(frozen=True)
class Optimizer:
    """Adam (Kingma and Ba 2015; weight decay in the gradient) or AdamW (Loshchilov and Hutter 2019; apart from it).

    Attributes:
        learning_rate: Rate that the schedule's factor multiplies.
        weight_decay: Pull towards zero.
        decayed: Which parameters decay: convolution kernels alone, or all.
        betas: Decay of the two running moments.
        eps: Added to the denominator.
        body_rate: Factor of the learning rate for all but the heads.
        clip_norm: Longest gradient, by its L2 norm; null never clips.
    """

    name: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = ranged(1e-7, 1.0, 1.5e-3)
    weight_decay: float = ranged(0.0, 1.0, 0.01)
    decayed: Literal["kernels", "all"] = "kernels"
    betas: tuple[float, float] = ranged(0.0, 0.99999, (0.9, 0.999))
    eps: float = ranged(1e-12, 1e-2, 1e-8)
    body_rate: float = ranged(0.0, 1.0, 1.0)
    clip_norm: float | None = ranged(1e-3, 1e6, 5.0)


@dataclass(frozen=True)
class Schedule:
    """Learning rate over a stage.

    Attributes:
        name: `poly`: (1 - epoch / epochs) ** power, a step down after each epoch; `cosine`: half a cosine to zero;
            `constant_then_cosine`: constant, and half a cosine to zero over the last `decay_steps`.
        power: Exponent of `poly`.
        warmup_steps: Steps of a linear rise from zero before that.
        decay_steps: See `constant_then_cosine`; not read by the others.
    """

    name: Literal["poly", "cosine", "constant_then_cosine"] = "cosine"
    power: float = ranged(0.1, 10.0, 0.9)
    warmup_steps: int = ranged(0, 1_000_000, 0)
    decay_steps: int = ranged(0, 10_000_000, 0)


@dataclass(frozen=True)
class Stage:
    """One training from fresh moments on, with weights taken over from the stage before.

    Attributes:
        part: `encoder` trains the encoder with its own head at an eighth of the resolution, `network` the whole.
        schedule: Over all phases of this stage.
        frozen_statistics: Whether batch norm keeps the statistics that the stage begins with.
    """

    name: str
    part: Literal["encoder", "network"]
    phases: tuple[Phase, ...]
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    frozen_statistics: bool = False

    def __post_init__(self) -> None:
        if not self.phases:
            raise ParameterError(f"Expected one phase or more in stage '{self.name}', got none.")


@dataclass(frozen=True)
class Loss:
    """Class-weighted cross-entropy, which may have an overlap term.

    Attributes:
        class_weight_constant: c of the weights 1 / ln(c + p); null gives all classes the same weight.
        overlap_weight: Weight of one minus the soft IoU, added to it.
        teacher_weight: Weight of the cross-entropy with the probabilities of a --teacher, added to it.
    """

    class_weight_constant: float | None = ranged(1.0001, 10.0, 1.10)
    overlap_weight: float = ranged(0.0, 100.0, 0.0)
    teacher_weight: float = ranged(0.0, 100.0, 1.0)


@dataclass(frozen=True)
class Synthetic:
    """Frames of synthetic streets in every batch; their classes are CamVid's.

    Attributes:
        per_batch: How many of a batch's crops show them.
        streets: How many different streets.
        frames: Frames of each.
        every: Distance between those, in the street's frames (15 a second).
        first_seed: Of the first street; the demo and the tests use those below 1000.
    """

    per_batch: int = ranged(1, 1024, 1)
    streets: int = ranged(1, 10_000, 60)
    frames: int = ranged(1, 1000, 8)
    every: int = ranged(1, 10_000, 45)
    first_seed: int = ranged(1000, 1_000_000, 1000)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result, besides the data.

    Attributes:
        batch_size: Crops per step, over all devices.
        seed: Of all random choices.
        max_frame_height: Taller frames are shrunk to this height, pixels, before anything else; null keeps them.
        ema_decay: Decay per step of the running average of the weights that is validated and kept; null keeps
            the last weights.
        validate_every: Steps between two validations.
        validate_frames: Number of frames to validate on while training, evenly spread over the split; null for all.
        patience: Validations without a higher mIoU after which a stage ends, with its best weights; null goes to the
            end and keeps the last.
        compile: Whether the network is compiled: faster after a minute's wait.
        unlabeled_fraction: Share of a batch's crops that show --unlabeled frames, where there are any.
    """

    stages: tuple[Stage, ...]
    batch_size: int = ranged(1, 4096, 8)
    seed: int = ranged(0, 2**31 - 1, 1)
    max_frame_height: int | None = ranged(16, 4096, None)
    loss: Loss = Loss()
    ema_decay: float | None = ranged(0.0, 0.999999, None)
    synthetic: Synthetic | None = None
    validate_every: int = ranged(1, 10_000_000, 500)
    validate_frames: int | None = ranged(1, 1_000_000, None)
    patience: int | None = ranged(1, 1000, None)
    compile: bool = False
    unlabeled_fraction: float = ranged(0.0, 0.9, 0.5)

    def __post_init__(self) -> None:
        if not self.stages:
            raise ParameterError("Expected one stage or more in the recipe, got none.")
        if self.stages[-1].part != "network":
            raise ParameterError(
                f"Expected part: network in the recipe's last stage '{self.stages[-1].name}', got "
                f"{self.stages[-1].part}: its decoder would stay untrained."
            )
        if self.synthetic is not None and self.synthetic.per_batch >= self.batch_size:
            raise ParameterError(
                f"Expected synthetic.per_batch below batch_size {self.batch_size}, got {self.synthetic.per_batch}."
            )


def load(name_or_path: str) -> tuple[str, Recipe]:
    """Return name (a file's stem) and content of a built-in recipe or a YAML file, else raise ParameterError."""
    path = _built_in(name_or_path) if name_or_path in BUILT_IN else Path(name_or_path)
    if not path.is_file():
        raise ParameterError(
            f"Expected {', '.join(BUILT_IN)} or a YAML file as recipe, got '{name_or_path}', which does not exist; "
            "check the name."
        )
    return path.stem, build(Recipe, read_mapping(path), str(path))


def with_length(recipe: Recipe, steps: int | None, epochs: int | None) -> Recipe:
    """Return the recipe with another length of each stage, its phases, warm-up and decay in proportion."""
    unit, wanted = ("epochs", epochs) if steps is None else ("steps", steps)
    if wanted is None:
        return recipe
    return replace(recipe, stages=tuple(_stage_with_length(stage, unit, wanted) for stage in recipe.stages))


def _stage_with_length(stage: Stage, unit: str, wanted: int) -> Stage:
    lengths = [getattr(phase, unit) for phase in stage.phases]
    if None in lengths:
        other = "steps" if unit == "epochs" else "epochs"
        raise ParameterError(f"Expected --{other}, in which stage '{stage.name}' of the recipe counts, got --{unit}.")
    if wanted < len(lengths):
        raise ParameterError(
            f"Expected --{unit} of {len(lengths)} or more, one for each phase of stage '{stage.name}', got {wanted}."
        )
    factor = wanted / sum(lengths)
    phases, begin = [], 0
    for n, phase in enumerate(stage.phases, 1):
        # Rounding must not remove a short phase, this one or one of those that follow.
        end = min(max(round(factor * sum(lengths[:n])), begin + 1), wanted - (len(lengths) - n))
        phases.append(replace(phase, **{unit: end - begin}))
        begin = end
    warmup, decay = round(stage.schedule.warmup_steps * factor), round(stage.schedule.decay_steps * factor)
    schedule = replace(stage.schedule, warmup_steps=warmup, decay_steps=decay)
    return replace(stage, phases=tuple(phases), schedule=schedule)


def _built_in(name: str) -> Path:
    """Return the path of a recipe: config/ in a checkout, share/erfnet_ros/config/ where it is installed."""
    package = Path(erfnet_ros.__file__).resolve().parent
    places = [package.parent / "config", *(parent / "share" / "erfnet_ros" / "config" for parent in package.parents)]
    for place in places:
        if (place / "training" / f"{name}.yaml").is_file():
            return place / "training" / f"{name}.yaml"
    raise ParameterError(f"The recipe '{name}' is not installed with {package}; give the path of its YAML file.")
