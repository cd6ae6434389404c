"""Follow a run step by step: curves, validation, saving, stopping."""

from __future__ import annotations

import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from torch import Tensor

from erfnet_ros.core.errors import TrainingError
from erfnet_ros.evaluation.metrics.confusion_matrix import mean_iou
from erfnet_ros.training.data.batches import Batch
from erfnet_ros.training.history import CurvePoint
from erfnet_ros.training.loop.checkpoint_io import STATE
from erfnet_ros.training.loop.lightning_module import StageModule
from erfnet_ros.training.loop.tensorboard_images import ImageLogger
from erfnet_ros.training.loop.throughput import Throughput, ThroughputMeter
from erfnet_ros.training.loop.validation import ValidationSet, count_pixels, with_void_column

log = logging.getLogger(__name__)

_POINT_STEPS = 50
_LINE_S = 10.0
_CURVES = ("loss", "learning_rate", "val_miou", "images_per_second", "gpu_utilization")
_AGREE_STEPS = 10
"""Several processes ask each other so often whether to stop or save: asking costs a message."""


class Keeper(Callback):
    """Lightning tells it of every step; it lives through all stages, and its state is saved with theirs.

    Args:
        run: The run's folder.
        validation_set: What to validate on; None for nothing.
        save_every_s: Seconds between two saved states; validations and the end of a stage save too.
        validate_every: Steps between two validations.
        image_logger: Where pictures go; None for none.
        quiet: Whether a progress bar says how far it is, so that lines need not.

    Attributes:
        points: The curves so far.
        seconds: Time spent in steps, over all resumptions.
        images: Crops trained on, over all processes.
        steps: Steps taken, over all stages.
        stopped: Whether someone asked to stop (Ctrl-C or SIGTERM), and the state was saved.
    """

    def __init__(
        self,
        run: Path,
        validation_set: ValidationSet | None,
        save_every_s: float,
        validate_every: int,
        image_logger: ImageLogger | None,
        quiet: bool,
    ) -> None:
        self.points: list[CurvePoint] = []
        self.seconds, self.images, self.steps = 0.0, 0, 0
        self.stopped = False
        self._run, self._watched, self._image_logger, self._quiet = run, validation_set, image_logger, quiet
        self._save_every_s, self._validate_every = save_every_s, validate_every
        self._stop_asked = False
        self._losses: list[Tensor] = []
        self._clock = self._saved = 0.0
        self._throughput_meter = ThroughputMeter()
        self._last_throughput: Throughput | None = None
        self._handlers: dict[signal.Signals, Callable[[int, FrameType | None], Any] | int | None] = {}

    @property
    def throughput(self) -> Throughput:
        """How fast it goes: in this period, or in the one before while this is too short to tell."""
        early = self._throughput_meter.seconds < _LINE_S
        return (
            self._last_throughput
            if early and self._last_throughput is not None
            else self._throughput_meter.throughput(self.images)
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run goes on with."""
        losses = [float(loss) for loss in self._losses]
        return {
            "points": [asdict(point) for point in self.points],
            "seconds": self.seconds,
            "images": self.images,
            "steps": self.steps,
            "losses": losses,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with what `state_dict` returned."""
        self.points = [CurvePoint(**point) for point in state_dict["points"]]
        self.seconds, self.images, self.steps = (state_dict[name] for name in ("seconds", "images", "steps"))
        self._losses = [torch.tensor(loss) for loss in state_dict["losses"]]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over Ctrl-C and SIGTERM: a step is either taken whole and saved, or not taken."""
        self._clock = self._saved = time.monotonic()
        self._throughput_meter.begin(self.images)
        if threading.current_thread() is threading.main_thread():
            # Lightning's own handler of SIGTERM makes all processes leave before they have saved.
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._handlers[signum] = signal.signal(signum, self._ask_to_stop)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give Ctrl-C and SIGTERM back."""
        self._restore_signals()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give Ctrl-C and SIGTERM back."""
        self._restore_signals()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count, sampler the curves, validate, save and stop, in this order."""
        module = _stage(pl_module)
        step = trainer.global_step
        last = step == module.plan.steps
        self._count(trainer, module, outputs["loss"].detach(), batch)
        validates = self._watched is not None and (last or step % self._validate_every == 0)
        if validates or last or step % _POINT_STEPS == 0:
            self._add_point(trainer, module, validates)
        asked = self._stop_asked or trainer.received_sigterm
        due = asked or time.monotonic() - self._saved >= self._save_every_s
        if trainer.world_size > 1:
            agree = step % _AGREE_STEPS == 0
            asked = agree and bool(trainer.strategy.reduce_boolean_decision(asked, all=False))
            due = agree and bool(trainer.strategy.reduce_boolean_decision(due, all=False))
        if due or asked or validates or last:
            self.save(trainer)
        if asked and not last:
            self.stopped = trainer.should_stop = True

    def save(self, trainer: Trainer) -> None:
        """Save where the run stands; every process must call it.

        Raises:
            TrainingError: It stands where nobody wants to go on from, or cannot be saved; the state before is kept.
        """
        module = _stage(trainer.lightning_module)
        step = module.plan.first_step + trainer.global_step
        if self._losses:
            self._mean_loss(module, step)
        # The loss is that of the weights before the step.
        if not all(bool(value.isfinite().all()) for value in module.state_dict().values()):
            raise _diverged(f"Expected finite weights after step {step}, got others")
        now = time.monotonic()
        self.seconds += now - self._clock
        trainer.save_checkpoint(self._run / STATE)
        # Neither saving nor validating is training.
        self._clock = self._saved = time.monotonic()

    def _count(self, trainer: Trainer, module: StageModule, loss: Tensor, batch: Batch) -> None:
        self._losses.append(loss)
        self.images += module.recipe.batch_size
        self.steps += 1
        self._throughput_meter.look(module.device)
        step = trainer.global_step - 1
        if self._image_logger is not None and step in (0, *_phase_starts(module)):
            self._image_logger.crops(module.plan.first_step + step, batch)

    def _add_point(self, trainer: Trainer, module: StageModule, validates: bool) -> None:
        plan, step = module.plan, trainer.global_step
        loss = self._mean_loss(module, plan.first_step + step)
        self._losses.clear()
        self.seconds += time.monotonic() - self._clock
        throughput = self._throughput_meter.throughput(self.images)
        rate = plan.stage.optimizer.learning_rate * plan.rate_factor(step - 1)
        miou = self._validate(trainer, module) if validates else None
        point = CurvePoint(
            plan.stage.name,
            plan.first_step + step,
            loss,
            rate,
            miou,
            throughput.images_per_second,
            throughput.gpu_utilization,
        )
        self.points.append(point)
        self._write_curves(trainer, point, throughput)
        self._clock = time.monotonic()

    def _mean_loss(self, module: StageModule, step: int) -> float:
        """Return the mean since the last point; TrainingError where it is not finite."""
        loss = float(torch.stack([loss.to(module.device) for loss in self._losses]).mean())
        if not math.isfinite(loss):
            raise _diverged(f"Expected a finite loss, got {loss} before step {step}")
        return loss

    def _validate(self, trainer: Trainer, module: StageModule) -> float | None:
        if self._watched is None:
            return None
        network = module.result()
        numbers = self._watched.numbers[trainer.global_rank :: trainer.world_size]
        with trainer.precision_plugin.forward_context():
            matrix = count_pixels(network, module.plan, self._watched, module.device, numbers)
            if self._image_logger is not None:
                step = module.plan.first_step + trainer.global_step
                self._image_logger.predictions(step, network, module.plan, self._watched, module.device)
        total = trainer.strategy.reduce(matrix, reduce_op="sum")
        return mean_iou(with_void_column(torch.as_tensor(total)))

    def _write_curves(self, trainer: Trainer, point: CurvePoint, throughput: Throughput) -> None:
        curves = {name: value for name in _CURVES if (value := getattr(point, name)) is not None}
        for logger in trainer.loggers:
            logger.log_metrics(curves, point.step)
        if point.val_miou is None and self._throughput_meter.seconds < _LINE_S:
            return
        if trainer.is_global_zero and not (self._quiet and point.val_miou is None):
            miou = "" if point.val_miou is None else f", mIoU {100 * point.val_miou:.2f} %"
            gpu = "" if throughput.gpu_utilization is None else f", GPU busy {100 * throughput.gpu_utilization:.0f} %"
            log.info(
                "%s: step %d, loss %.4f, learning rate %.2e, %.1f images/s%s%s",
                point.stage, point.step, point.loss, point.learning_rate, throughput.images_per_second, gpu, miou,
            )  # fmt: skip
        self._last_throughput = throughput
        self._throughput_meter.begin(self.images)

    def _ask_to_stop(self, signum: int, frame: FrameType | None) -> None:
        log.info("Stopping after this step; press Ctrl-C again to stop at once, without saving.")
        self._stop_asked = True
        if signum == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _restore_signals(self) -> None:
        for signum, handler in self._handlers.items():
            signal.signal(signum, handler)
        self._handlers.clear()


def _diverged(what: str) -> TrainingError:
    return TrainingError(f"{what}; lower learning_rate in the recipe, or take --precision fp32 or bf16.")


def _stage(module: LightningModule) -> StageModule:
    if not isinstance(module, StageModule):
        raise TypeError(f"Expected a StageModule, got {type(module).__name__}.")
    return module


def _phase_starts(module: StageModule) -> list[int]:
    lengths = module.plan.phase_steps
    return [sum(lengths[:n]) for n in range(len(lengths))]


class StepBar(TQDMProgressBar):
    """Count to the stage's last step; Lightning's own would not know where the data ends."""

    @property
    def total_train_batches(self) -> int | float:
        """Number of steps of the stage."""
        return self.trainer.max_steps

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return what stands behind the bar: how fast the run goes."""
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        return next((keeper.throughput.texts() for keeper in callbacks if isinstance(keeper, Keeper)), {})


def wants_bar() -> bool:
    """Tell whether someone watches: a log file would fill with bars."""
    return sys.stderr.isatty() and sys.stdout.isatty()
