"""Training run, from the request to the report."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from erfnet_ros.inference.pytorch.cuda import is_out_of_memory
from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.training.config.request import Request
from erfnet_ros.training.config.schedule import plans
from erfnet_ros.training.data.batches import BatchSampler, batches
from erfnet_ros.training.finalize import finish
from erfnet_ros.training.loop.callbacks import EarlyStop, StateSaver, StepBar, wants_bar
from erfnet_ros.training.loop.checkpoint_io import StateFile, read_state
from erfnet_ros.training.loop.curves import TrainingCurves
from erfnet_ros.training.loop.lightning_module import STAGE_KEY, StageModule
from erfnet_ros.training.loop.losses import class_weights
from erfnet_ros.training.loop.memory_check import out_of_memory_in_training
from erfnet_ros.training.loop.tensorboard_images import ImageLogger
from erfnet_ros.training.setup import TrainingSetup, is_first_process, prepared

log = logging.getLogger(__name__)

_LIGHTNING_PRECISIONS = {"fp32": "32-true", "fp16": "16-mixed", "bf16": "bf16-mixed"}
_RAREST_SHARE = 1e-4


def train(request: Request) -> bool:
    """Train to the recipe's end; return whether it was reached, or a signal stopped the run with its state saved.

    Ctrl-C outside the training steps, or twice, is a KeyboardInterrupt.
    """
    _quiet_lightning()
    with prepared(request) as setup:
        return _train(setup)


def _train(setup: TrainingSetup) -> bool:
    request, recipe, data = setup.request, setup.recipe, setup.training_data
    logger = TensorBoardLogger(request.run, name="", version="tensorboard")
    curves = TrainingCurves(
        validation_set=data.validation_set,
        validate_every=recipe.validate_every,
        image_logger=ImageLogger(logger.experiment, data.class_set) if is_first_process() else None,
        quiet=wants_bar(),
    )
    saver = StateSaver(request.state, request.save_every_s, curves)
    early_stop = None if recipe.patience is None else EarlyStop(recipe.patience, curves)
    callbacks = [curves, *([early_stop] if early_stop else []), saver, *([StepBar(curves)] if wants_bar() else [])]
    state = read_state(request.state) if request.resume else None
    weights = class_weights(recipe.loss, data.class_frequencies.shares)
    torch.manual_seed(recipe.seed)
    network = ERFNet(len(data.class_set))
    if setup.initial is not None:
        setup.initial.copy_to(network, data.class_set.names)
    for plan in plans(recipe, len(data.data)):
        if state is not None and plan.index < state[STAGE_KEY]:
            continue
        resumed = state is not None and plan.index == state[STAGE_KEY]
        module = StageModule(
            network,
            plan,
            recipe,
            weights=weights,
            rare_classes=data.class_frequencies.rare_classes,
            teacher=setup.teacher,
        )
        _fit(setup, module, callbacks=callbacks, logger=logger, state=request.state if resumed else None)
        if saver.stopped:
            log.info("The state after step %d is saved.", curves.steps)
            return False
        network = module.result()
        if early_stop and early_stop.best:
            network.load_state_dict(early_stop.best)
            early_stop.best = {}
    logger.finalize("success")
    if is_first_process():
        finish(setup, network.cpu(), curves)
    return True


def _fit(
    setup: TrainingSetup,
    module: StageModule,
    *,
    callbacks: list[Callback],
    logger: TensorBoardLogger,
    state: Path | None,
) -> None:
    """Train one stage, from its beginning or from a state on."""
    request, several = setup.request, setup.request.processes > 1
    gpu, validation_set = setup.device.type == "cuda", setup.training_data.validation_set
    trainer = Trainer(
        accelerator="gpu" if gpu else "cpu",
        devices=[setup.device.index or 0] if gpu and request.devices == 1 else request.devices,
        num_nodes=request.nodes,
        strategy="ddp" if several else "auto",
        sync_batchnorm=several and gpu,
        precision=_LIGHTNING_PRECISIONS[setup.precision],  # type: ignore[arg-type]
        # cuDNN's search for the fastest kernels pays where images have few sizes.
        benchmark=gpu and (validation_set is None or validation_set.frames.size is not None),
        max_steps=module.plan.steps,
        max_epochs=-1,
        gradient_clip_val=module.plan.stage.optimizer.clip_norm,
        logger=logger,
        callbacks=callbacks,
        plugins=[StateFile()],
        enable_checkpointing=False,
        enable_progress_bar=wants_bar(),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=request.run,
    )
    sampler = BatchSampler(
        plan=module.plan,
        seed=setup.recipe.seed,
        parts=setup.training_data.parts,
        sampling_weights=np.sqrt(1 / np.maximum(setup.training_data.class_frequencies.shares, _RAREST_SHARE)),
        rank=trainer.global_rank,
        processes=request.processes,
    )
    loader = batches(sampler, lambda: trainer.global_step, setup.workers, pin_memory=gpu)
    try:
        trainer.fit(module.train(), loader, ckpt_path=state)
    except (SIGTERMException, SystemExit) as error:
        # Lightning turns a Ctrl-C that `StateSaver` does not handle into exit status 1.
        raise KeyboardInterrupt from error
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        saved = request.state.exists()
        raise out_of_memory_in_training(
            setup.recipe.batch_size, processes=request.processes, device=str(setup.device), saved=saved
        ) from error


def _quiet_lightning() -> None:
    """Hide Lightning's own log lines and two of its warnings; its errors stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if not is_first_process():
        logging.getLogger("erfnet_ros").setLevel(logging.ERROR)
    for message in (".*does not have many workers.*", ".*LeafSpec.*is deprecated.*"):
        warnings.filterwarnings("ignore", message)
