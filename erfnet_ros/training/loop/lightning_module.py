"""Lightning module of one training stage: network, weight average, loss, optimizer and learning rate."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from erfnet_ros.core.array_types import VOID
from erfnet_ros.models.erfnet import STRIDE, ERFNet, NonBottleneck1d, pad_to_stride
from erfnet_ros.training.config.recipe import Recipe
from erfnet_ros.training.config.schedule import Plan
from erfnet_ros.training.data.batches import Batch
from erfnet_ros.training.data.pixel_augmentation import apply_color_jitter, paste
from erfnet_ros.training.loop.losses import distillation, loss_of
from erfnet_ros.training.loop.teacher import Teacher

log = logging.getLogger(__name__)

STAGE_KEY = "erfnet_stage"
"""Key of a saved state for the number of the recipe's stage that it belongs to."""


class StageModule(LightningModule):
    """Train the part of a network that a stage names, in place.

    Args:
        network: Changed in place.
        plan: The stage.
        recipe: Loss, average and whether to compile.
        weights: (C,) float32 class weights, or None.
        rare_classes: What the phases' `paste_fraction` pastes.
        teacher: Whose probabilities are learned as well; None for labels alone.
    """

    weights: Tensor | None
    _predict: Callable[[ERFNet, Tensor], Tensor]

    def __init__(
        self,
        network: ERFNet,
        plan: Plan,
        recipe: Recipe,
        *,
        weights: Tensor | None,
        rare_classes: Sequence[int] = (),
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self.plan, self.recipe, self._rare_classes, self._teacher = plan, recipe, rare_classes, teacher
        self.network = _channels_last(network)
        self.register_buffer("weights", weights, persistent=False)
        self.average: ERFNet | None = None
        if recipe.ema_decay is not None:
            self.average = _channels_last(ERFNet(network.num_classes))
            self.average.load_state_dict(network.state_dict())
            self.average.requires_grad_(False)
        self._averaged: tuple[list[Tensor], list[Tensor]] | None = None
        for parameter in network.parameters():
            parameter.requires_grad_(True)
        # Several processes would wait for the gradient of a part that gets none.
        unused = network.encoder.output_conv if plan.stage.part == "network" else network.decoder
        unused.requires_grad_(False)
        predict = logits_of(plan)
        # The function, not the network: a compiled module would list the network's weights a second time.
        self._predict = _compiled(predict) if recipe.compile else predict

    def result(self) -> ERFNet:
        """Return the network that is validated and kept: the average, or the trained one itself."""
        return self.network if self.average is None else self.average

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch; see `batches.Batch`."""
        images, labels, color_jitter = batch
        phase = self.plan.phase(self.global_step)
        x = apply_color_jitter(images, color_jitter, phase).contiguous(memory_format=torch.channels_last)
        logits = self._predict(self.network, x)
        with torch.autocast(self.device.type, enabled=False):
            targets = labels_of(self.plan, labels).long()
            loss = loss_of(self.recipe.loss, logits.float(), targets, weights=self.weights)
            if self._teacher is None:
                return loss
            learned = distillation(
                logits.float(), self._teacher.probabilities(x), self._teacher.class_ids, self.weights
            )
            return loss + self.recipe.loss.teacher_weight * learned

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Paste between this process's crops, by seed and step alone."""
        fraction = self.plan.phase(self.global_step).paste_fraction
        if not fraction:
            return batch
        images, labels, color_jitter = batch
        # The last number gives other random numbers than those of dropout and noise.
        random = torch.Generator().manual_seed(self._seed(1))
        return *paste(images, labels, classes=self._rare_classes, fraction=fraction, random=random), color_jitter

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the phase's dropout rate, and seed dropout and noise so that a resumed run draws the same."""
        self.network.train()
        if self.plan.stage.frozen_statistics:
            for layer in self.network.modules():
                if isinstance(layer, torch.nn.BatchNorm2d):
                    layer.eval()
        set_dropout(self.network, self.plan.phase(self.global_step).dropout)
        torch.manual_seed(self._seed())

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        """Take the step and update the weight average."""
        super().optimizer_step(*arguments, **options)
        self.update_average(self.global_step + 1)

    def on_train_start(self) -> None:
        """List the tensors of average and network once, which takes longer than to average them."""
        if self.average is not None:
            pairs = zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True)
            averages, values = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
            self._averaged = list(averages), list(values)

    @torch.no_grad()
    def update_average(self, steps: int) -> None:
        """Move the average towards the weights after `steps` steps; nothing where the recipe keeps none."""
        if self._averaged is not None and self.recipe.ema_decay is not None:
            # It starts as a short average, to forget the random first weights.
            decay = min(self.recipe.ema_decay, (1 + steps) / (10 + steps))
            torch._foreach_lerp_(*self._averaged, 1 - decay)

    def configure_optimizers(self) -> Any:
        """Return the optimizer and its learning rate schedule, by step."""
        optimizer = self._optimizer()
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": LambdaLR(optimizer, self.plan.rate_factor), "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save which stage the state belongs to."""
        checkpoint[STAGE_KEY] = self.plan.index

    def _seed(self, *more: int) -> int:
        """Return a seed that follows from the step, this process and further numbers."""
        numbers = (self.recipe.seed, self.plan.index, self.global_step, self.global_rank, *more)
        return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))

    def _optimizer(self) -> Optimizer:
        options = self.plan.stage.optimizer
        groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                decays = options.decayed == "all" or parameter.ndim > 1
                head = options.body_rate == 1.0 or ".output_conv." in name
                groups.setdefault((decays, head), []).append(parameter)
        options_of = [
            {
                "params": parameters,
                "weight_decay": options.weight_decay if decays else 0.0,
                "lr": options.learning_rate * (1.0 if head else options.body_rate),
            }
            for (decays, head), parameters in groups.items()
        ]
        kind = Adam if options.name == "adam" else AdamW
        return kind(options_of, options.learning_rate, options.betas, options.eps)


def stage_of(module: LightningModule) -> StageModule:
    """Return the module that Lightning passes to callbacks with its type."""
    if not isinstance(module, StageModule):
        raise TypeError(f"Expected a StageModule, got {type(module).__name__}.")
    return module


def logits_of(plan: Plan) -> Callable[[ERFNet, Tensor], Tensor]:
    """Return the function from network and images (N, 3, H, W) to logits, for the encoder at an eighth of the size."""
    if plan.stage.part == "encoder":
        return lambda network, images: network.encoder.predict(pad_to_stride(images))
    return lambda network, images: network(images)


def labels_of(plan: Plan, labels: Tensor) -> Tensor:
    """Return labels (N, H, W) uint8 at the size of the stage's logits: for the encoder every eighth pixel."""
    if plan.stage.part == "network":
        return labels
    height, width = labels.shape[-2:]
    padded = F.pad(labels, (0, -width % STRIDE, 0, -height % STRIDE), value=VOID)
    return padded[:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]


def set_dropout(network: ERFNet, rate: float | None) -> None:
    """Set the rate of the encoder's dropout layers; None means the paper's."""
    for layer in network.encoder.layers:
        if isinstance(layer, NonBottleneck1d):
            early = layer.conv3x1_2.dilation == (1, 1)
            layer.dropout.p = rate if rate is not None else 0.03 if early else 0.3


def _compiled(predict: Callable[[ERFNet, Tensor], Tensor]) -> Callable[[ERFNet, Tensor], Tensor]:
    """Compile, which needs a C++ compiler (on a GPU Triton needs a C compiler, which comes with it)."""
    names = (os.environ.get("CXX"), "g++", "clang++")
    if not any(name and shutil.which(name) for name in names):
        log.warning("Found no C++ compiler, so the recipe's compile: true is ignored; install g++ to train faster.")
        return predict
    return torch.compile(predict, dynamic=False)


def _channels_last(network: ERFNet) -> ERFNet:
    """Store kernels in the layout of cuDNN's and oneDNN's fast convolutions."""
    converted: ERFNet = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return converted
