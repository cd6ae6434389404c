"""The end of a run: the checkpoint, its score, curves, pictures and report."""

from __future__ import annotations

import logging
import os
import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch

import erfnet_ros
from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.system_info import processor
from erfnet_ros.data.datasets import DataSet
from erfnet_ros.evaluation.dataset.measure import FrameScore, measure
from erfnet_ros.inference.calibration import calibrate, calibration_images
from erfnet_ros.inference.segmenter import Segmenter
from erfnet_ros.models import checkpoint as checkpoints
from erfnet_ros.models.checkpoint import Checkpoint
from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.training.history import Evaluation, FrameResult, History
from erfnet_ros.training.loop.callbacks import Keeper
from erfnet_ros.training.setup import TrainingSetup
from erfnet_ros.visualization.contact_sheet import Sample, labeled_strip, write_png
from erfnet_ros.visualization.overlay import blend

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.safetensors"
"""The trained weights in the run's folder."""

_SHOWN = 3
_STRIPS = "frames"


def finish(setup: TrainingSetup, network: ERFNet, keeper: Keeper) -> None:
    """Write checkpoint, evaluation, history and report into the run's folder.

    Args:
        setup: The run.
        network: Its result.
        keeper: Its curves.
    """
    run = setup.request.run
    path = run / CHECKPOINT
    checkpoint = _checkpoint(setup, network)
    # Without its score first: a fault while scoring must not cost the weights.
    checkpoints.save(checkpoint, path)
    if setup.training_data.validation_data is not None:
        miou = _evaluate(run, path, str(setup.device), setup.training_data.validation_data)
        checkpoints.save(replace(checkpoint, miou=miou), path)
    _history(setup, keeper).write(run)
    from erfnet_ros.training.report import write_report

    log.info("%s and %s are written.", path, write_report(run))


def _checkpoint(setup: TrainingSetup, network: ERFNet) -> Checkpoint:
    training_data = setup.training_data
    measured = (
        "" if training_data.validation_data is None else f"; mIoU measured on {training_data.validation_data.split}"
    )
    text = f"{_data_text(setup)}, recipe {setup.run_config.recipe_name}, seed {setup.recipe.seed}{measured}"
    # The frames' size and not the crop's: crops are cut at the frames' scale.
    size, license = training_data.class_frequencies.commonest_size, setup.request.license or ""
    checkpoint = Checkpoint(training_data.class_set, network.state_dict(), size, text, None, license)
    return calibrate(checkpoint, calibration_images(training_data.data))


def _evaluate(run: Path, path: Path, device: str, data: DataSet) -> float | None:
    """Score the written file as a user would run it; return its mIoU."""
    segmenter = Segmenter(path, device=device)

    def segment(rgb: Pixels) -> tuple[Pixels, Pixels]:
        segmentation = segmenter(rgb)
        return segmentation.labels, segmentation.confidence

    measurement = measure(data, range(len(data)), segment)
    best, worst = measurement.best(_SHOWN), measurement.worst(_SHOWN)
    shown = {
        name: tuple(_shown(run, data, segmenter, frame, f"{name}_{n + 1}") for n, frame in enumerate(frames))
        for name, frames in (("best", best), ("worst", worst))
    }
    Evaluation(data.split, measurement.score.to_dict(), shown["best"], shown["worst"]).write(run)
    figures = measurement.score.figures()
    if figures.miou is not None:
        log.info("mIoU on %s: %.2f %% over %d frames.", data.split, 100 * figures.miou, figures.frames)
    return figures.miou


def _shown(run: Path, data: DataSet, segmenter: Segmenter, scored: FrameScore, stem: str) -> FrameResult:
    """Write the strip of one frame."""
    frame = data[scored.index]
    labels = segmenter(frame.rgb).labels
    miou = scored.figures.miou or 0.0
    colored = blend(frame.rgb, labels, data.class_set.palette(), 0.5)
    sample = Sample(f"mIoU {100 * miou:.1f} %", frame.rgb, frame.truth, labels, colored)
    picture = Path(_STRIPS) / f"{stem}.png"
    (run / _STRIPS).mkdir(exist_ok=True)
    write_png(run / picture, labeled_strip(sample, data.class_set))
    return FrameResult(scored.name, miou, picture.as_posix())


def _history(setup: TrainingSetup, keeper: Keeper) -> History:
    training_data = setup.training_data
    return History(
        data=_data_text(setup),
        validated_on=None if training_data.validation_set is None else training_data.validation_set.split,
        recipe_name=setup.run_config.recipe_name,
        recipe=setup.recipe.to_dict(),
        seed=setup.recipe.seed,
        command=setup.request.command,
        hardware=_hardware(setup),
        versions={
            "erfnet_ros": erfnet_ros.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "lightning")},
        },
        class_names=training_data.class_set.names,
        class_frequencies=tuple(training_data.class_frequencies.shares.tolist()),
        steps=keeper.steps,
        images=keeper.images,
        seconds=keeper.seconds,
        images_per_second=keeper.images / max(keeper.seconds, 1e-9),
        points=tuple(keeper.points),
    )


def _data_text(setup: TrainingSetup) -> str:
    data = setup.training_data.data
    synthetic = " and synthetic streets" if setup.recipe.synthetic is not None else ""
    return f"{data.name}, split {data.split} ({len(data)} frames){synthetic}"


def _hardware(setup: TrainingSetup) -> str:
    count = setup.request.processes
    if setup.device.type == "cuda":
        return f"{count} x {torch.cuda.get_device_name(setup.device)}"
    processes = f", {count} processes" if count > 1 else ""
    return f"{len(os.sched_getaffinity(0))} cores of {processor()}{processes}"
