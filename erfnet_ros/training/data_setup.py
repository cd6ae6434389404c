"""Training data: splits to train and validate on, opened, checked and counted before the first step."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from erfnet_ros.core.class_set import CAMVID, ClassSet
from erfnet_ros.core.errors import ParameterError, SourceError
from erfnet_ros.core.image_size import check_input_size
from erfnet_ros.data.datasets import DataSet, open_dataset, open_layout
from erfnet_ros.data.frame_sources import Source, spread_evenly
from erfnet_ros.training.config.recipe import Recipe
from erfnet_ros.training.data.batches import BatchPart
from erfnet_ros.training.data.frame_store import (
    ClassFrequencies,
    DiskFrames,
    FrameOptions,
    MemoryFrames,
    count_classes,
    open_frames,
    render_streets,
)
from erfnet_ros.training.data.unlabeled_frames import UnlabeledFrames
from erfnet_ros.training.loop.validation import ValidationSet

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingData:
    """Splits that a run is trained and validated on.

    Attributes:
        data: The training split.
        parts: What each batch is made of; the data set first.
        validation_set: What to validate on while training; None for nothing.
        validation_data: The split behind it, at its full size; None for nothing.
    """

    data: DataSet
    class_frequencies: ClassFrequencies
    parts: tuple[BatchPart, ...]
    validation_set: ValidationSet | None
    validation_data: DataSet | None

    @property
    def class_set(self) -> ClassSet:
        """Classes of the labels."""
        return self.data.class_set


def open_split(kind: str, root: Path, split: str) -> DataSet:
    """Open a split to train on; raise SourceError where there is no such split, or it has no labels."""
    data = open_dataset(kind, root, split)
    if not data.has_ground_truth:
        raise SourceError(f"Expected labels in split {split} of {root} to train on, got none; name another split.")
    return data


def open_validation_split(kind: str, root: Path, *, trained_on: str, wanted: str | None) -> DataSet | None:
    """Open the split to validate on, `trained_on` being one split or several joined by `+`.

    Wanted is a split, `none`, or None for the first of val and test that exists, has labels and is not trained on.

    Raises:
        ParameterError: The split is trained on.
        SourceError: There is no such split, or it has no labels.
    """
    if wanted == "none":
        return None
    if wanted is not None:
        if set(wanted.split("+")) & set(trained_on.split("+")):
            raise ParameterError(
                f"Expected to validate on frames that are not trained on, got {wanted} of {trained_on}."
            )
        return open_split(kind, root, wanted)
    available = open_layout(kind, root).splits
    for split in ("val", "test"):
        if split in available and split not in trained_on.split("+"):
            try:
                data = open_dataset(kind, root, split)
            except SourceError as error:
                raise SourceError(f"{error} '--validate-on none' trains without it.") from error
            if data.has_ground_truth:
                return data
    log.info("No split with labels is left to validate on: the checkpoint will have no mIoU.")
    return None


def load_training_data(
    data: DataSet,
    validation_data: DataSet | None,
    *,
    unlabeled: Source | None = None,
    recipe: Recipe,
    options: FrameOptions,
) -> TrainingData:
    """Read and count all frames of the splits to train and to validate on.

    Raises:
        SourceError: A frame cannot be used.
        ParameterError: The recipe does not fit the frames.
    """
    log.info("Reading the %d frames of %s, split %s.", len(data), data.name, data.split)
    frequencies = count_classes(data, options)
    if (frequencies.pixels > 0).sum() < 2:
        raise SourceError(
            f"Expected pixels of two classes or more in split {data.split} of {data.name} to train on, got "
            f"{int((frequencies.pixels > 0).sum())}; label what the class is not as a class as well, such as 'other'."
        )
    absent = [name for name, pixels in zip(data.class_set.names, frequencies.pixels, strict=True) if not pixels]
    if absent:
        log.warning(
            "No pixel of split %s of %s is %s: the network will not learn this.",
            data.split, data.name, " or ".join(absent),
        )  # fmt: skip
    try:
        check_input_size(*frequencies.commonest_size)
    except ParameterError as error:
        raise ParameterError(
            f"{error} It is the size of the frames of {data.name}, split {data.split}; "
            "set max_frame_height in the recipe."
        ) from error
    whole = any(phase.crop == "frame" for stage in recipe.stages for phase in stage.phases)
    if frequencies.size is None and (whole or recipe.synthetic is not None):
        raise ParameterError(
            f"Expected frames of one size in split {data.split} of {data.name} for the recipe's "
            f"{'crop: frame' if whole else 'synthetic frames'}, got several; set a crop [width, height]"
            f"{'' if whole else ' and synthetic: null'}."
        )
    real = open_frames(data, frequencies.size, options)
    parts = [BatchPart(real, recipe.batch_size)]
    if recipe.synthetic is not None and frequencies.size is not None:
        if data.class_set.names != CAMVID.names:
            raise ParameterError(
                f"Expected the classes of camvid for synthetic frames, got those of {data.class_set.name}; "
                "set synthetic: null in the recipe."
            )
        log.info("Rendering %d synthetic frames.", recipe.synthetic.streets * recipe.synthetic.frames)
        device = options.device if not isinstance(real, DiskFrames) else torch.device("cpu")
        streets = render_streets(recipe.synthetic, frequencies.size, replace(options, device=device))
        count = recipe.synthetic.per_batch
        parts = [BatchPart(real, recipe.batch_size - count), BatchPart(streets, count)]
    if unlabeled is not None:
        parts = _with_unlabeled(parts, unlabeled, data, recipe=recipe, size=frequencies.size)
    validation_set = None
    if validation_data is not None:
        if validation_data.class_set.names != data.class_set.names:
            raise SourceError(
                f"Expected the classes of {data.split} in {validation_data.split}, "
                f"got those of {validation_data.class_set.name}."
            )
        size = count_classes(validation_data, options).size
        frames = open_frames(validation_data, size, options, sample_pixels=False)
        numbers = spread_evenly(len(validation_data), recipe.validate_frames)
        validation_set = ValidationSet(frames, numbers, validation_data.split)
    return TrainingData(data, frequencies, tuple(parts), validation_set, validation_data)


def _with_unlabeled(
    parts: list[BatchPart], unlabeled: Source, data: DataSet, *, recipe: Recipe, size: tuple[int, int] | None
) -> list[BatchPart]:
    """Let unlabeled frames take their share of the batch from the labeled ones, which lie in memory or do not."""
    count = min(round(recipe.batch_size * recipe.unlabeled_fraction), parts[0].per_batch - 1)
    if count < 1:
        raise ParameterError(
            f"Expected a batch with room for labeled and unlabeled crops, got batch_size {recipe.batch_size} and "
            f"unlabeled_fraction {recipe.unlabeled_fraction:g}; raise one of them."
        )
    log.info("Reading the %d unlabeled frames.", len(unlabeled))
    frames = UnlabeledFrames(unlabeled, len(data.class_set), size)
    labeled = parts[0].frames
    chosen = frames.in_memory(labeled.images.device) if isinstance(labeled, MemoryFrames) else frames
    first = replace(parts[0], per_batch=parts[0].per_batch - count)
    return [first, *parts[1:], BatchPart(chosen, count)]
