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

from erfnet_ros.inference.pytorch.cuda import is_out_of_memory
from erfnet_ros.models.checkpoint import build_network
from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.training.config.request import Request
from erfnet_ros.training.config.schedule import Plan, plans
from erfnet_ros.training.data.batches import Draw, batches
from erfnet_ros.training.finalize import finish
from erfnet_ros.training.loop.callbacks import Keeper, StepBar, wants_bar
from erfnet_ros.training.loop.checkpoint_io import STATE, StateFile, read_state
from erfnet_ros.training.loop.distributed import is_first_process
from erfnet_ros.training.loop.lightning_module import STAGE_KEY, StageModule
from erfnet_ros.training.loop.losses import class_weights
from erfnet_ros.training.loop.memory_check import out_in_training
from erfnet_ros.training.loop.tensorboard_images import Samples
from erfnet_ros.training.setup import Job, prepare

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
    job = prepare(request)
    logger = TensorBoardLogger(request.run, name="", version="tensorboard")
    samples = Samples(logger.experiment, job.material.class_set) if is_first_process() else None
    keeper = Keeper(
        request.run, job.material.watched, request.save_every_s, job.recipe.validate_every, samples, wants_bar()
    )
    state = read_state(request.run / STATE) if request.resume else None
    torch.manual_seed(job.recipe.seed)
    network = ERFNet(len(job.material.class_set)) if job.initial is None else build_network(job.initial)
    for plan in plans(job.recipe, len(job.material.data)):
        if state is not None and plan.index < state[STAGE_KEY]:
            continue
        resumed = state is not None and plan.index == state[STAGE_KEY]
        module = StageModule(network, plan, job.recipe, _class_weights(job))
        if not _fit(job, module, keeper, logger, request.run / STATE if resumed else None):
            log.info("Stopped after step %d; go on with --resume.", keeper.steps)
            return False
        network = module.result()
    logger.finalize("success")
    if is_first_process():
        finish(job, network.cpu(), keeper)
    return True


def _fit(job: Job, module: StageModule, keeper: Keeper, logger: TensorBoardLogger, resumed: Path | None) -> bool:
    """Train one stage; tell whether it reached its end."""
    request, several = job.request, job.request.processes > 1
    gpu = job.device.type == "cuda"
    callbacks: list[Callback] = [keeper, StepBar()] if wants_bar() else [keeper]
    trainer = Trainer(
        accelerator="gpu" if gpu else "cpu",
        devices=[job.device.index or 0] if gpu and request.devices == 1 else request.devices,
        num_nodes=request.nodes,
        strategy="ddp" if several else "auto",
        sync_batchnorm=several and gpu,
        precision=_LIGHTNING_PRECISIONS[job.precision],  # type: ignore[arg-type]
        # What cuDNN learns of a shape in a second pays for itself where few shapes come again and again.
        benchmark=gpu and _few_shapes(job),
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
    loader = batches(_draw(job, module.plan, trainer), lambda: trainer.global_step, job.workers)
    try:
        trainer.fit(module.train(), loader, ckpt_path=resumed)
    except SIGTERMException:
        keeper.stopped = True
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        saved = (request.run / STATE).exists()
        raise out_in_training(job.recipe.batch_size, request.processes, str(job.device), saved) from error
    return not keeper.stopped


def _few_shapes(job: Job) -> bool:
    """Tell whether views and watched frames have few sizes; each phase has one, a folder's frames may have hundreds."""
    watched = job.material.watched
    return watched is None or watched.frames.size is not None


def _draw(job: Job, plan: Plan, trainer: Trainer) -> Draw:
    rarity = np.sqrt(1 / np.maximum(job.material.census.shares, _RAREST_SHARE))
    return Draw(plan, job.recipe.seed, job.material.training, rarity, trainer.global_rank, job.request.processes)


def _class_weights(job: Job) -> torch.Tensor | None:
    constant = job.recipe.loss.class_weight_constant
    if constant is None:
        return None
    return class_weights(torch.from_numpy(job.material.census.shares).float(), constant)


def _quiet_lightning() -> None:
    """Leave out what Lightning says of itself; its errors stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if not is_first_process():
        # The first process speaks for all.
        logging.getLogger("erfnet_ros").setLevel(logging.ERROR)
    for message in (".*does not have many workers.*", ".*LeafSpec.*is deprecated.*"):
        warnings.filterwarnings("ignore", message)
