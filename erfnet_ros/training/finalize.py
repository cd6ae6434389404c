"""Results of a finished run: checkpoint, evaluation, history and report."""

from __future__ import annotations

import logging
import os
import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

import erfnet_ros
from erfnet_ros.core.system_info import processor
from erfnet_ros.data.datasets import DataSet
from erfnet_ros.evaluation.dataset.measure import FrameScore, measure
from erfnet_ros.inference.segmenter import Segmenter
from erfnet_ros.models import checkpoint as checkpoints
from erfnet_ros.models.checkpoint import Checkpoint
from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.training.calibration import calibrate, calibration_images
from erfnet_ros.training.history import Evaluation, FrameResult, History
from erfnet_ros.training.loop.curves import TrainingCurves
from erfnet_ros.training.loop.losses import class_weights
from erfnet_ros.training.report import write_report
from erfnet_ros.training.setup import TrainingSetup
from erfnet_ros.visualization.contact_sheet import Sample, labeled_strip, write_png
from erfnet_ros.visualization.overlay import blend

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.safetensors"
"""File of the trained weights, in the run's folder."""

_LAST_BIAS = "decoder.output_conv.bias"
_SHOWN = 3
_STRIPS = "frames"


def finish(setup: TrainingSetup, network: ERFNet, curves: TrainingCurves) -> None:
    """Write checkpoint, evaluation, history and report of a trained network into the run's folder."""
    run = setup.request.run
    path = run / CHECKPOINT
    checkpoint = _checkpoint(setup, network)
    # Before it is evaluated: an error in the evaluation must not lose the weights.
    checkpoints.save(checkpoint, path)
    if setup.training_data.validation_data is not None:
        miou = _evaluate(setup, setup.training_data.validation_data)
        checkpoints.save(replace(checkpoint, miou=miou), path)
    _history(setup, curves).write(run)
    log.info("%s and %s are written.", path, write_report(run))


def without_class_weights(state_dict: dict[str, Tensor], weights: Tensor) -> dict[str, Tensor]:
    """Return the network's tensors with log(weight), of weights (C,), subtracted from the logit of each class.

    Weighted cross-entropy is least where the softmax is proportional to weight times probability, which predicts rare
    classes too often.

    Source: Menon et al. 2021, "Long-tail learning via logit adjustment", section 4 (post-hoc adjustment).
    """
    shift = weights.log()
    # Subtracting the mean from all classes does not change the softmax.
    bias = state_dict[_LAST_BIAS] - (shift - shift.mean()).to(state_dict[_LAST_BIAS])
    return {**state_dict, _LAST_BIAS: bias}


def _checkpoint(setup: TrainingSetup, network: ERFNet) -> Checkpoint:
    data = setup.training_data
    measured = "" if data.validation_data is None else f"; mIoU measured on {data.validation_data.split}"
    text = f"{_data_text(setup)}, recipe {setup.run_config.recipe_name}, seed {setup.recipe.seed}{measured}"
    # The frames' size, not the crops', which are cut at the frames' scale.
    size, license = data.class_frequencies.commonest_size, setup.request.license or ""
    weights = class_weights(setup.recipe.loss, data.class_frequencies.shares)
    state_dict = network.state_dict() if weights is None else without_class_weights(network.state_dict(), weights)
    checkpoint = Checkpoint(data.class_set, state_dict, size, text, None, license)
    return calibrate(checkpoint, calibration_images(data.data))


def _evaluate(setup: TrainingSetup, data: DataSet) -> float | None:
    """Evaluate the written file as a user would run it; return its mIoU."""
    run = setup.request.run
    segmenter = Segmenter(run / CHECKPOINT, device=str(setup.device))

    def with_strip(scored: FrameScore, stem: str) -> FrameResult:
        """Write a frame's picture: image, ground truth and prediction side by side."""
        frame = data[scored.index]
        labels = segmenter(frame.rgb).labels
        miou = scored.statistics.miou or 0.0
        colored = blend(frame.rgb, labels, data.class_set.palette(), 0.5)
        sample = Sample(f"mIoU {100 * miou:.1f} %", frame.rgb, frame.ground_truth, labels, colored)
        picture = Path(_STRIPS) / f"{stem}.png"
        write_png(run / picture, labeled_strip(sample, data.class_set))
        return FrameResult(scored.name, miou, picture.as_posix())

    (run / _STRIPS).mkdir(exist_ok=True)
    measurement = measure(data, range(len(data)), segmenter)
    best = tuple(with_strip(frame, f"best_{n}") for n, frame in enumerate(measurement.best(_SHOWN), 1))
    worst = tuple(with_strip(frame, f"worst_{n}") for n, frame in enumerate(measurement.worst(_SHOWN), 1))
    Evaluation(data.split, measurement.score, best, worst).write(run)
    statistics = measurement.score.statistics()
    if statistics.miou is not None:
        log.info("mIoU on %s: %.2f %% over %d frames.", data.split, 100 * statistics.miou, statistics.frames)
    return statistics.miou


def _history(setup: TrainingSetup, curves: TrainingCurves) -> History:
    data = setup.training_data
    return History(
        data=_data_text(setup),
        validated_on=None if data.validation_set is None else data.validation_set.split,
        recipe_name=setup.run_config.recipe_name,
        recipe=setup.recipe,
        seed=setup.recipe.seed,
        command=setup.request.command,
        hardware=_hardware(setup),
        versions={
            "erfnet_ros": erfnet_ros.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "lightning")},
        },
        class_names=data.class_set.names,
        class_frequencies=tuple(data.class_frequencies.shares.tolist()),
        steps=curves.steps,
        images=curves.images,
        seconds=curves.seconds,
        points=tuple(curves.points),
    )


def _data_text(setup: TrainingSetup) -> str:
    data = setup.training_data.data
    synthetic = " and synthetic streets" if setup.recipe.synthetic is not None else ""
    unlabeled = setup.run_config.unlabeled
    teacher = "" if setup.request.teacher is None else f", with the teacher {setup.request.teacher.name}"
    more = f" and {unlabeled} unlabeled frames" if unlabeled else ""
    return f"{data.name}, split {data.split} ({len(data)} frames){synthetic}{more}{teacher}"


def _hardware(setup: TrainingSetup) -> str:
    count = setup.request.processes
    if setup.device.type == "cuda":
        return f"{count} x {torch.cuda.get_device_name(setup.device)}"
    processes = f", {count} processes" if count > 1 else ""
    return f"{len(os.sched_getaffinity(0))} cores of {processor()}{processes}"
