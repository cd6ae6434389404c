"""Training setup: a request checked against the machine, the data and the run's folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only

from erfnet_ros.core.errors import EngineError, TrainingError
from erfnet_ros.core.output_files import locked_output_folder
from erfnet_ros.data.frame_sources import open_source
from erfnet_ros.inference.device import pick_device, pick_floats
from erfnet_ros.training.config.recipe import Recipe
from erfnet_ros.training.config.request import Request, RunConfig, completed_from, file_hash, fingerprint, recipe_of
from erfnet_ros.training.data.frame_store import FrameOptions, default_workers
from erfnet_ros.training.data_setup import TrainingData, load_training_data, open_split, open_validation_split
from erfnet_ros.training.initial_weights import InitialWeights
from erfnet_ros.training.loop.checkpoint_io import read_state, remove_partial_states
from erfnet_ros.training.loop.memory_check import check_memory
from erfnet_ros.training.loop.teacher import Teacher


@dataclass(frozen=True)
class TrainingSetup:
    """A request that can be carried out, on the device of this process."""

    request: Request
    run_config: RunConfig
    recipe: Recipe
    training_data: TrainingData
    initial: InitialWeights | None
    teacher: Teacher | None
    device: torch.device
    precision: str
    workers: int


@contextmanager
def prepared(request: Request) -> Iterator[TrainingSetup]:
    """Check a request, lock the run's folder and read the data; raise ErfnetError where that is not possible."""
    before = RunConfig.read(request.run) if request.resume else None
    request = request if before is None else completed_from(request, before)
    name, recipe = recipe_of(request, before)
    device, precision = _machine(request, before)
    data = open_split(request.kind, request.root, request.split or "train")
    initial = None if request.init is None else InitialWeights.read(request.init)
    unlabeled = None if request.unlabeled is None else open_source(str(request.unlabeled), data.class_set)
    teacher = None if request.teacher is None else Teacher(request.teacher, data.class_set.names, device)
    run_config = RunConfig(
        data=request.kind,
        split=data.split,
        files=fingerprint(data),
        recipe_name=name,
        recipe=recipe,
        init=file_hash(request.init) if request.init is not None else before.init if before else None,
        precision=precision,
        processes=request.processes,
        validate_on=request.validate_on,
        license=request.license,
        command=request.command,
        teacher=None if request.teacher is None else file_hash(request.teacher),
        unlabeled=None if unlabeled is None else len(unlabeled),
    )
    validation_data = open_validation_split(
        request.kind, request.root, trained_on=data.split, wanted=request.validate_on
    )
    if recipe.patience is not None and validation_data is None:
        raise TrainingError(
            f"Expected a split with labels to validate on, which the patience of recipe {name} needs, got none; label "
            "one frame more, name one with --validate-on, or set patience: null."
        )
    workers = default_workers(request.devices) if request.workers is None else request.workers
    options = FrameOptions(device, recipe.max_frame_height, recipe.seed, request.frames, workers, request.devices)
    # The first process starts the others, which write nothing.
    with locked_output_folder(request.run) if is_first_process() else nullcontext():
        if before is not None:
            run_config.check_same(before, request.run)
            read_state(request.state)
        elif is_first_process() and request.state.exists():
            raise TrainingError(
                f"Expected a new folder for a new run, got {request.run}, which holds a run; "
                "continue that one with --resume, or choose another folder."
            )
        training_data = load_training_data(data, validation_data, unlabeled=unlabeled, recipe=recipe, options=options)
        check_memory(
            recipe,
            frame_size=training_data.class_frequencies.size,
            num_classes=len(data.class_set),
            device=device,
            precision=precision,
            processes=request.processes,
        )
        if is_first_process():
            if before is None:
                run_config.write(request.run)
            remove_partial_states(request.run)
        yield TrainingSetup(request, run_config, recipe, training_data, initial, teacher, device, precision, workers)


def is_first_process() -> bool:
    """Tell whether this process logs and writes for all that train together; known before Lightning connects them."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0 and os.environ.get("NODE_RANK", "0") == "0"


def _machine(request: Request, before: RunConfig | None) -> tuple[torch.device, str]:
    """Return device and precision; a GPU trains in bf16 where it can, whose range needs no loss scaling."""
    device = pick_device(request.device)
    available = torch.cuda.device_count() if device.type == "cuda" else request.devices
    if request.devices > available:
        raise EngineError(f"Expected --devices of {available} or less, the number of GPUs, got {request.devices}.")
    if device.type == "cuda" and request.devices > 1:
        # As Lightning, torchrun or SLURM number the processes of a machine.
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))))
    asked = request.precision if before is None or request.precision != "auto" else before.precision
    if asked == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        asked = "bf16"
    return device, pick_floats(asked, device)
