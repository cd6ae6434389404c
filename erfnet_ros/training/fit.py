"""A training run from the request to the report."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from erfnet_ros.models.checkpoint import build_network
from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.training.config.request import Request
from erfnet_ros.training.config.schedule import Plan, plans
from erfnet_ros.training.data.batches import BatchSampler, batches
from erfnet_ros.training.finalize import finish
from erfnet_ros.training.loop.callbacks import Keeper, StepBar, wants_bar
from erfnet_ros.training.loop.checkpoint_io import STATE, StateFile, read_state
from erfnet_ros.training.loop.distributed import is_first_process
from erfnet_ros.training.loop.lightning_module import STAGE_KEY, StageModule
from erfnet_ros.training.loop.losses import class_weights
from erfnet_ros.training.loop.memory_check import is_out_of_memory, out_of_memory_in_training
from erfnet_ros.training.loop.tensorboard_images import ImageLogger
from erfnet_ros.training.setup import TrainingSetup, prepare

log = logging.getLogger(__name__)

_LIGHTNING_PRECISIONS = {"fp32": "32-true", "fp16": "16-mixed", "bf16": "bf16-mixed"}
_RAREST_SHARE = 1e-4


def train(request: Request) -> bool:
    """Train to the recipe's end.

    Returns:
        Whether the end was reached; False where someone stopped the run, which can be resumed.

    Raises:
        ErfnetError: Something of the request cannot be had, or the run cannot go on.
    """
    _quiet_lightning()
    setup = prepare(request)
    logger = TensorBoardLogger(request.run, name="", version="tensorboard")
    image_logger = ImageLogger(logger.experiment, setup.training_data.class_set) if is_first_process() else None
    keeper = Keeper(
        request.run,
        setup.training_data.validation_set,
        request.save_every_s,
        setup.recipe.validate_every,
        image_logger,
        wants_bar(),
    )
    state = read_state(request.run / STATE) if request.resume else None
    torch.manual_seed(setup.recipe.seed)
    network = ERFNet(len(setup.training_data.class_set)) if setup.initial is None else build_network(setup.initial)
    for plan in plans(setup.recipe, len(setup.training_data.data)):
        if state is not None and plan.index < state[STAGE_KEY]:
            continue
        resumed = state is not None and plan.index == state[STAGE_KEY]
        module = StageModule(network, plan, setup.recipe, _class_weights(setup))
        if not _fit(setup, module, keeper, logger, request.run / STATE if resumed else None):
            log.info("Stopped after step %d; go on with --resume.", keeper.steps)
            return False
        network = module.result()
    logger.finalize("success")
    if is_first_process():
        finish(setup, network.cpu(), keeper)
    return True


def _fit(
    setup: TrainingSetup, module: StageModule, keeper: Keeper, logger: TensorBoardLogger, resumed: Path | None
) -> bool:
    """Train one stage; tell whether it reached its end."""
    request, several = setup.request, setup.request.processes > 1
    gpu = setup.device.type == "cuda"
    callbacks: list[Callback] = [keeper, StepBar()] if wants_bar() else [keeper]
    trainer = Trainer(
        accelerator="gpu" if gpu else "cpu",
        devices=[setup.device.index or 0] if gpu and request.devices == 1 else request.devices,
        num_nodes=request.nodes,
        strategy="ddp" if several else "auto",
        sync_batchnorm=several and gpu,
        precision=_LIGHTNING_PRECISIONS[setup.precision],  # type: ignore[arg-type]
        # What cuDNN learns of a shape in a second pays for itself where few shapes come again and again.
        benchmark=gpu and _has_few_shapes(setup),
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
    loader = batches(_sampler(setup, module.plan, trainer), lambda: trainer.global_step, setup.workers)
    try:
        trainer.fit(module.train(), loader, ckpt_path=resumed)
    except SIGTERMException:
        keeper.stopped = True
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        saved = (request.run / STATE).exists()
        raise out_of_memory_in_training(setup.recipe.batch_size, request.processes, str(setup.device), saved) from error
    return not keeper.stopped


def _has_few_shapes(setup: TrainingSetup) -> bool:
    """Tell whether images have few sizes: a phase has one, a folder's frames may have hundreds."""
    validation_set = setup.training_data.validation_set
    return validation_set is None or validation_set.frames.size is not None


def _sampler(setup: TrainingSetup, plan: Plan, trainer: Trainer) -> BatchSampler:
    sampling_weights = np.sqrt(1 / np.maximum(setup.training_data.class_frequencies.shares, _RAREST_SHARE))
    return BatchSampler(
        plan,
        setup.recipe.seed,
        setup.training_data.training,
        sampling_weights,
        trainer.global_rank,
        setup.request.processes,
    )


def _class_weights(setup: TrainingSetup) -> torch.Tensor | None:
    constant = setup.recipe.loss.class_weight_constant
    if constant is None:
        return None
    return class_weights(torch.from_numpy(setup.training_data.class_frequencies.shares).float(), constant)


def _quiet_lightning() -> None:
    """Leave out what Lightning says of itself; its errors stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if not is_first_process():
        # The first process speaks for all.
        logging.getLogger("erfnet_ros").setLevel(logging.ERROR)
    for message in (".*does not have many workers.*", ".*LeafSpec.*is deprecated.*"):
        warnings.filterwarnings("ignore", message)
