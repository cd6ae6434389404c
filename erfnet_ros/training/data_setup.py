"""What a run is trained and watched on: opened, checked and counted before the first step."""

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
from erfnet_ros.training.data.batches import Share
from erfnet_ros.training.data.frame_store import (
    Census,
    DiskFrames,
    TrainingFrames,
    fits_memory,
    load_frames,
    render_streets,
    take_census,
)
from erfnet_ros.training.loop.validation import Watched

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Material:
    """What a run is trained and watched on.

    Attributes:
        data: The training split.
        census: Its pixels by class.
        training: What each batch is made of; the data set first.
        watched: What to validate on while training; None for nothing.
        watched_data: The split behind it, at its full size; None for nothing.
    """

    data: DataSet
    census: Census
    training: tuple[Share, ...]
    watched: Watched | None
    watched_data: DataSet | None

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


def open_watched_split(kind: str, root: Path, trained_on: str, wanted: str | None) -> DataSet | None:
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


def gather(
    data: DataSet,
    watched: DataSet | None,
    recipe: Recipe,
    where: str,
    device: torch.device,
    workers: int,
    processes: int,
) -> Material:
    """Read and count everything.

    Args:
        data: The training split.
        watched: The split to validate on, or None.
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
    census = take_census(data, recipe.max_frame_height, workers)
    _warn_of_absent(census, data)
    _check_size(census, data)
    whole = any(phase.crop == "frame" for stage in recipe.stages for phase in stage.phases)
    if census.size is None and (whole or recipe.synthetic is not None):
        raise ParameterError(
            f"Expected frames of one size in split {data.split} of {data.name} for the recipe's "
            f"{'crop: frame' if whole else 'synthetic frames'}, got several; set a crop [width, height]"
            f"{'' if whole else ' and synthetic: null'}."
        )
    real = _frames(data, census, recipe, where, device, workers, processes, trained_on=True)
    shares = [Share(real, recipe.batch_size)]
    if recipe.synthetic is not None and census.size is not None:
        log.info("Rendering %d synthetic frames.", recipe.synthetic.streets * recipe.synthetic.frames)
        lies_on = device if not isinstance(real, DiskFrames) else torch.device("cpu")
        streets = render_streets(recipe.synthetic, data.class_set, census.size, recipe.seed, lies_on, workers)
        count = recipe.synthetic.per_batch
        shares = [Share(real, recipe.batch_size - count), Share(streets, count)]
    return Material(
        data, census, tuple(shares), _watch(watched, data, recipe, where, device, workers, processes), watched
    )


def _watch(
    watched: DataSet | None,
    data: DataSet,
    recipe: Recipe,
    where: str,
    device: torch.device,
    workers: int,
    processes: int,
) -> Watched | None:
    if watched is None:
        return None
    if watched.class_set.names != data.class_set.names:
        raise SourceError(
            f"Expected the classes of {data.split} in {watched.split}, got those of {watched.class_set.name}."
        )
    census = take_census(watched, recipe.max_frame_height, workers)
    frames = _frames(watched, census, recipe, where, device, workers, processes, trained_on=False)
    return Watched(frames, spread_evenly(len(watched), recipe.validate_frames), watched.split)


def _frames(
    data: DataSet,
    census: Census,
    recipe: Recipe,
    where: str,
    device: torch.device,
    workers: int,
    processes: int,
    trained_on: bool,
) -> TrainingFrames:
    size = census.size
    if where == "memory" and size is None:
        raise ParameterError(
            f"Expected frames of one size in split {data.split} of {data.name} to keep them in memory, got several; "
            "take --frames disk."
        )
    in_memory = where == "memory" or (where == "auto" and fits_memory(len(data), size, device, processes))
    if in_memory and size is not None:
        return load_frames(data, size, recipe.max_frame_height, recipe.seed, device, workers, trained_on)
    return DiskFrames(data, recipe.max_frame_height, recipe.seed, census.size)


def _check_size(census: Census, data: DataSet) -> None:
    """Refuse frames whose size the run's checkpoint cannot name."""
    try:
        check_input_size(*census.commonest_size)
    except ParameterError as error:
        raise ParameterError(
            f"{error} It is the size of the frames of {data.name}, split {data.split}; "
            "set max_frame_height in the recipe."
        ) from error


def _warn_of_absent(census: Census, data: DataSet) -> None:
    absent = [name for name, pixels in zip(data.class_set.names, census.pixels, strict=True) if not pixels]
    if absent:
        log.warning(
            "No pixel of split %s of %s is %s: the network will not learn to name it.",
            data.split, data.name, " or ".join(absent),
        )  # fmt: skip
