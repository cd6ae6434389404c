"""What a run is trained and validated on: opened, checked and counted before the first step."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import ParameterError, SourceError
from erfnet_ros.core.image_size import check_input_size
from erfnet_ros.data.datasets import DataSet, open_dataset, open_layout
from erfnet_ros.data.frame_sources import spread_evenly
from erfnet_ros.training.config.recipe import Recipe
from erfnet_ros.training.data.batches import BatchPart
from erfnet_ros.training.data.frame_store import (
    ClassFrequencies,
    DiskFrames,
    TrainingFrames,
    count_classes,
    fits_memory,
    load_frames,
    render_streets,
)
from erfnet_ros.training.loop.validation import ValidationSet

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingData:
    """What a run is trained and validated on.

    Attributes:
        data: The training split.
        class_frequencies: Its pixels by class.
        training: What each batch is made of; the data set first.
        validation_set: What to validate on while training; None for nothing.
        validation_data: The split behind it, at its full size; None for nothing.
    """

    data: DataSet
    class_frequencies: ClassFrequencies
    training: tuple[BatchPart, ...]
    validation_set: ValidationSet | None
    validation_data: DataSet | None

    @property
    def class_set(self) -> ClassSet:
        """What the ids mean."""
        return self.data.class_set


def open_split(kind: str, root: Path, split: str) -> DataSet:
    """Open a split to train on.

    Raises:
        SourceError: There is no such split, or it has no labels.
    """
    data = open_dataset(kind, root, split)
    if not data.has_truth:
        raise SourceError(f"Expected labels in split {split} of {root} to train on, got none; name another split.")
    return data


def open_validation_split(kind: str, root: Path, trained_on: str, wanted: str | None) -> DataSet | None:
    """Open the split to validate on.

    Args:
        kind: Kind of data set.
        root: Its folder.
        trained_on: The training split, or several joined by `+`.
        wanted: A split, `none`, or None for the first of val and test that is there, has labels and is not trained on.

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
    there = open_layout(kind, root).splits
    for split in ("val", "test"):
        if split in there and split not in trained_on.split("+"):
            try:
                data = open_dataset(kind, root, split)
            except SourceError as error:
                raise SourceError(f"{error} '--validate-on none' trains without it.") from error
            if data.has_truth:
                return data
    log.info("No split with labels is left to validate on: the run goes without, and its checkpoint has no mIoU.")
    return None


def load_training_data(
    data: DataSet,
    validation_set: DataSet | None,
    recipe: Recipe,
    where: str,
    device: torch.device,
    workers: int,
    processes: int,
) -> TrainingData:
    """Read and count everything.

    Args:
        data: The training split.
        validation_set: The split to validate on, or None.
        recipe: Shrinks frames, and may ask for synthetic ones.
        where: memory, disk, or auto: memory where the frames have one size and fit.
        device: Where the network is trained.
        workers: Threads and processes that read.
        processes: Processes on this machine that train together.

    Raises:
        SourceError: A frame cannot be used.
        ParameterError: The recipe does not fit the frames.
    """
    log.info("Reading the %d frames of %s, split %s.", len(data), data.name, data.split)
    class_frequencies = count_classes(data, recipe.max_frame_height, workers)
    _warn_about_absent_classes(class_frequencies, data)
    _check_size(class_frequencies, data)
    whole = any(phase.crop == "frame" for stage in recipe.stages for phase in stage.phases)
    if class_frequencies.size is None and (whole or recipe.synthetic is not None):
        raise ParameterError(
            f"Expected frames of one size in split {data.split} of {data.name} for the recipe's "
            f"{'crop: frame' if whole else 'synthetic frames'}, got several; set a crop [width, height]"
            f"{'' if whole else ' and synthetic: null'}."
        )
    real = _frames(data, class_frequencies, recipe, where, device, workers, processes, trained_on=True)
    shares = [BatchPart(real, recipe.batch_size)]
    if recipe.synthetic is not None and class_frequencies.size is not None:
        log.info("Rendering %d synthetic frames.", recipe.synthetic.streets * recipe.synthetic.frames)
        lies_on = device if not isinstance(real, DiskFrames) else torch.device("cpu")
        streets = render_streets(
            recipe.synthetic, data.class_set, class_frequencies.size, recipe.seed, lies_on, workers
        )
        count = recipe.synthetic.per_batch
        shares = [BatchPart(real, recipe.batch_size - count), BatchPart(streets, count)]
    return TrainingData(
        data,
        class_frequencies,
        tuple(shares),
        _validation_set(validation_set, data, recipe, where, device, workers, processes),
        validation_set,
    )


def _validation_set(
    validation_set: DataSet | None,
    data: DataSet,
    recipe: Recipe,
    where: str,
    device: torch.device,
    workers: int,
    processes: int,
) -> ValidationSet | None:
    if validation_set is None:
        return None
    if validation_set.class_set.names != data.class_set.names:
        raise SourceError(
            f"Expected the classes of {data.split} in {validation_set.split}, "
            f"got those of {validation_set.class_set.name}."
        )
    class_frequencies = count_classes(validation_set, recipe.max_frame_height, workers)
    frames = _frames(validation_set, class_frequencies, recipe, where, device, workers, processes, trained_on=False)
    return ValidationSet(frames, spread_evenly(len(validation_set), recipe.validate_frames), validation_set.split)


def _frames(
    data: DataSet,
    class_frequencies: ClassFrequencies,
    recipe: Recipe,
    where: str,
    device: torch.device,
    workers: int,
    processes: int,
    trained_on: bool,
) -> TrainingFrames:
    size = class_frequencies.size
    if where == "memory" and size is None:
        raise ParameterError(
            f"Expected frames of one size in split {data.split} of {data.name} to keep them in memory, got several; "
            "take --frames disk."
        )
    in_memory = where == "memory" or (where == "auto" and fits_memory(len(data), size, device, processes))
    if in_memory and size is not None:
        return load_frames(data, size, recipe.max_frame_height, recipe.seed, device, workers, trained_on)
    return DiskFrames(data, recipe.max_frame_height, recipe.seed, class_frequencies.size)


def _check_size(class_frequencies: ClassFrequencies, data: DataSet) -> None:
    """Refuse frames whose size the run's checkpoint cannot name."""
    try:
        check_input_size(*class_frequencies.commonest_size)
    except ParameterError as error:
        raise ParameterError(
            f"{error} It is the size of the frames of {data.name}, split {data.split}; "
            "set max_frame_height in the recipe."
        ) from error


def _warn_about_absent_classes(class_frequencies: ClassFrequencies, data: DataSet) -> None:
    absent = [name for name, pixels in zip(data.class_set.names, class_frequencies.pixels, strict=True) if not pixels]
    if absent:
        log.warning(
            "No pixel of split %s of %s is %s: the network will not learn to name it.",
            data.split, data.name, " or ".join(absent),
        )  # fmt: skip
