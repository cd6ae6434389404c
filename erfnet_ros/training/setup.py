"""A training request, checked against the machine, the data and the run's folder before the first step."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import CheckpointError, EngineError, TrainingError
from erfnet_ros.inference.device import pick_device, pick_floats
from erfnet_ros.models import checkpoint as checkpoints
from erfnet_ros.models.checkpoint import Checkpoint
from erfnet_ros.training.config.recipe import Recipe
from erfnet_ros.training.config.request import Request, RunConfig, completed_from, file_hash, fingerprint, recipe_of
from erfnet_ros.training.data.frame_store import default_workers
from erfnet_ros.training.data_setup import TrainingData, load_training_data, open_split, open_validation_split
from erfnet_ros.training.loop.checkpoint_io import STATE, read_state, remove_partial_states
from erfnet_ros.training.loop.distributed import is_first_process, local_rank
from erfnet_ros.training.loop.memory_check import check_memory

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSetup:
    """A request that can be carried out.

    Attributes:
        request: What was asked for.
        run_config: What decides the result.
        recipe: How to train.
        training_data: What to train and validate on.
        initial: Weights to begin with; None from scratch.
        device: Where; of several GPUs this process's.
        precision: fp32, fp16 or bf16.
        workers: Processes that read frames.
    """

    request: Request
    run_config: RunConfig
    recipe: Recipe
    training_data: TrainingData
    initial: Checkpoint | None
    device: torch.device
    precision: str
    workers: int


def prepare(request: Request) -> TrainingSetup:
    """Check a request and make the run's folder its own.

    Raises:
        ErfnetError: Something of it cannot be had.
    """
    before = RunConfig.read(request.run) if request.resume else None
    request = request if before is None else completed_from(request, before)
    name, recipe = recipe_of(request, before)
    device, precision = _machine(request, before)
    data = open_split(request.kind, request.root, request.split or "train")
    initial = None if request.init is None else _initial(request.init, data.class_set)
    init_hash = file_hash(request.init) if request.init is not None else before.init if before else None
    run_config = RunConfig(
        data=request.kind,
        split=data.split,
        files=fingerprint(data),
        recipe_name=name,
        recipe=recipe.to_dict(),
        init=init_hash,
        precision=precision,
        processes=request.processes,
        validate_on=request.validate_on,
        license=request.license,
        command=request.command,
    )
    if before is not None:
        run_config.check_same(before, request.run)
        read_state(request.run / STATE)
    validation_set = open_validation_split(request.kind, request.root, data.split, request.validate_on)
    workers = default_workers() if request.workers is None else request.workers
    training_data = load_training_data(data, validation_set, recipe, request.frames, device, workers, request.devices)
    check_memory(
        recipe, training_data.class_frequencies.size, len(data.class_set), device, precision, request.processes
    )
    if is_first_process():
        # Other processes come later: the first one starts them.
        if before is None:
            _create_run_folder(request.run, run_config)
        remove_partial_states(request.run)
    return TrainingSetup(request, run_config, recipe, training_data, initial, device, precision, workers)


def _machine(request: Request, before: RunConfig | None) -> tuple[torch.device, str]:
    """Return device and precision; a GPU trains in bf16 where it can, whose range needs no loss scaling."""
    device = pick_device(request.device)
    there = torch.cuda.device_count() if device.type == "cuda" else request.devices
    if request.devices > there:
        raise EngineError(f"Expected --devices of {there} or less, as many GPUs as are here, got {request.devices}.")
    if device.type == "cuda" and request.devices > 1:
        device = torch.device("cuda", local_rank())
    asked = request.precision if before is None or request.precision != "auto" else before.precision
    if asked == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        asked = "bf16"
    return device, pick_floats(asked, device)


def _initial(path: Path, class_set: ClassSet) -> Checkpoint:
    checkpoint = checkpoints.load(path)
    if checkpoint.class_set.names != class_set.names:
        raise CheckpointError(
            f"Expected a checkpoint of the {len(class_set)} classes of {class_set.name} to begin with, got "
            f"{len(checkpoint.class_set)} classes ({checkpoint.class_set.name}) in {path}; leave out --init."
        )
    return checkpoint


def _create_run_folder(run: Path, run_config: RunConfig) -> None:
    if (run / STATE).exists():
        raise TrainingError(
            f"Expected a new folder for a new run, got {run} with a run in it; "
            "go on with that by --resume, or choose another folder."
        )
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"Cannot make the folder {run}: {error.strerror}; choose another --out.") from error
    run_config.write(run)
