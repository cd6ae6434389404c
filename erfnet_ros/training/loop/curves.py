"""Training curves: loss, learning rate, validation mIoU and throughput."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from erfnet_ros.core.errors import TrainingError
from erfnet_ros.evaluation.metrics.confusion_matrix import mean_iou
from erfnet_ros.training.history import CurvePoint
from erfnet_ros.training.loop.lightning_module import StageModule, stage_of
from erfnet_ros.training.loop.tensorboard_images import ImageLogger
from erfnet_ros.training.loop.validation import ValidationSet, count_pixels, with_void_column

log = logging.getLogger(__name__)

_POINT_STEPS = 50
_RISING_POINTS, _RISING_FACTOR = 5, 3.0
"""A run has diverged where so many points in a row have so many times the lowest loss of their stage."""
_LINE_S = 10.0
_CURVES = ("loss", "learning_rate", "val_miou", "images_per_second", "gpu_utilization")
_GPU_CHECK_STEPS = 10
"""Steps between two checks of the loss on a GPU, each of which waits for it; a CPU checks at each step."""
_GPU_SAMPLE_S = 1.0
"""The driver averages the utilization over up to a second."""


@dataclass(frozen=True)
class Throughput:
    """Means over a period; see `CurvePoint`."""

    images_per_second: float
    gpu_utilization: float | None

    def texts(self) -> dict[str, str]:
        """Return each figure by its name."""
        texts = {"images/s": f"{self.images_per_second:.1f}"}
        if self.gpu_utilization is not None:
            texts["GPU"] = f"{100 * self.gpu_utilization:.0f} %"
        return texts


class ThroughputMeter:
    """Measures one period after the other."""

    def __init__(self) -> None:
        self._known = True
        self.begin(0)

    def begin(self, images: int) -> None:
        """Begin a period; `images` have been trained on so far."""
        self._began = self._sampled = time.monotonic()
        self._images = images
        self._busy: list[float] = []

    @property
    def seconds(self) -> float:
        """Length of the period so far."""
        return time.monotonic() - self._began

    def sample_gpu(self, device: torch.device) -> None:
        """Sample a GPU's utilization, at most once a second: asking takes longer than a small step."""
        now = time.monotonic()
        if device.type != "cuda" or not self._known or now - self._sampled < _GPU_SAMPLE_S:
            return
        self._sampled = now
        try:
            self._busy.append(torch.cuda.utilization(device) / 100)
        except Exception:
            # No nvidia-ml-py, no driver, a part of a GPU (MIG): each raises its own error, and training needs none.
            self._known = False

    def throughput(self, images: int) -> Throughput:
        """Return the means over the period, at whose end `images` have been trained on."""
        busy = sum(self._busy) / len(self._busy) if self._busy else None
        return Throughput((images - self._images) / max(1e-9, self.seconds), busy)


class TrainingCurves(Callback):
    """Records a run's curves and validates it, through all stages; saved and restored with the run's state.

    Args:
        validation_set: What to validate on; None for nothing.
        validate_every: Steps between two validations.
        quiet: Whether a progress bar replaces the log lines between validations.

    Attributes:
        seconds: Time spent in steps, over all resumptions.
        images: Crops trained on, over all processes.
        steps: Steps taken, over all stages.
    """

    def __init__(
        self,
        *,
        validation_set: ValidationSet | None = None,
        validate_every: int = 500,
        image_logger: ImageLogger | None = None,
        quiet: bool = True,
    ) -> None:
        self.points: list[CurvePoint] = []
        self.seconds, self.images, self.steps = 0.0, 0, 0
        self._validation_set, self._validate_every = validation_set, validate_every
        self._image_logger, self._quiet = image_logger, quiet
        self._losses: list[Tensor] = []
        self._clock = 0.0
        self._meter = ThroughputMeter()
        self._last_throughput: Throughput | None = None

    @property
    def throughput(self) -> Throughput:
        """Means of this period, or of the one before while this one is short."""
        if self._last_throughput is not None and self._meter.seconds < _LINE_S:
            return self._last_throughput
        return self._meter.throughput(self.images)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run continues from."""
        return {
            "points": [asdict(point) for point in self.points],
            "losses": [float(loss) for loss in self._losses],
            **{name: getattr(self, name) for name in ("seconds", "images", "steps")},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.points = [CurvePoint(**point) for point in state_dict["points"]]
        self._losses = [torch.tensor(loss) for loss in state_dict["losses"]]
        self.seconds, self.images, self.steps = (state_dict[name] for name in ("seconds", "images", "steps"))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._clock = time.monotonic()
        self._meter.begin(self.images)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the step, check its loss, and add a point to the curves where one is due."""
        module, step = stage_of(pl_module), trainer.global_step
        plan, last = module.plan, step == module.plan.steps
        self._losses.append(outputs["loss"].detach())
        self.images += module.recipe.batch_size
        self.steps += 1
        self._meter.sample_gpu(module.device)
        if self._image_logger is not None and (step == 1 or plan.phase_index(step - 1) != plan.phase_index(step - 2)):
            self._image_logger.crops(plan.first_step + step - 1, batch, plan.phase(step - 1))
        if module.device.type != "cuda" or step % _GPU_CHECK_STEPS == 0:
            self.mean_loss(module)
        validates = self._validation_set is not None and (last or step % self._validate_every == 0)
        if validates or last or step % _POINT_STEPS == 0:
            self._add_point(trainer, module, validates)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave what happens inside, such as saving, out of the time spent in steps."""
        self.seconds += time.monotonic() - self._clock
        yield
        self._clock = time.monotonic()

    def mean_loss(self, module: StageModule) -> float:
        """Return the mean loss since the last point, or 0; raise TrainingError where it is not finite."""
        loss = float(torch.stack([loss.to(module.device) for loss in self._losses]).mean()) if self._losses else 0.0
        if not math.isfinite(loss):
            raise diverged(f"Expected a finite loss, got {loss} at step {module.plan.first_step + module.global_step}")
        return loss

    def _add_point(self, trainer: Trainer, module: StageModule, validates: bool) -> None:
        plan, step = module.plan, trainer.global_step
        loss = self.mean_loss(module)
        self._losses.clear()
        before = [point.loss for point in self.points if point.stage == plan.stage.name]
        recent = [*before, loss][-_RISING_POINTS:]
        if len(before) >= _RISING_POINTS and min(recent) > _RISING_FACTOR * min(before):
            raise diverged(f"Expected a falling loss, got {loss:.3g} after {min(before):.3g} at step {self.steps}")
        with self.paused():
            throughput = self._meter.throughput(self.images)
            rate = plan.stage.optimizer.learning_rate * plan.rate_factor(step - 1)
            miou = self._validate(trainer, module, self._validation_set) if validates and self._validation_set else None
            point = CurvePoint(plan.stage.name, plan.first_step + step, loss, rate, miou, **asdict(throughput))
            self.points.append(point)
            self._write(trainer, point, throughput)

    def _validate(self, trainer: Trainer, module: StageModule, validation_set: ValidationSet) -> float | None:
        network = module.result()
        numbers = validation_set.numbers[trainer.global_rank :: trainer.world_size]
        with trainer.precision_plugin.forward_context():
            counts = count_pixels(network, module.plan, validation_set.frames, numbers=numbers)
            if self._image_logger is not None:
                step = module.plan.first_step + trainer.global_step
                self._image_logger.predictions(step, network, plan=module.plan, validation_set=validation_set)
        total = trainer.strategy.reduce(counts, reduce_op="sum")
        return mean_iou(with_void_column(torch.as_tensor(total)))

    def _write(self, trainer: Trainer, point: CurvePoint, throughput: Throughput) -> None:
        curves = {name: value for name in _CURVES if (value := getattr(point, name)) is not None}
        for logger in trainer.loggers:
            logger.log_metrics(curves, point.step)
        if point.val_miou is None and self._meter.seconds < _LINE_S:
            return
        if trainer.is_global_zero and not (self._quiet and point.val_miou is None):
            miou = "" if point.val_miou is None else f", mIoU {100 * point.val_miou:.2f} %"
            speed = ", ".join(f"{name} {text}" for name, text in throughput.texts().items())
            log.info(
                "%s: step %d, loss %.4f, learning rate %.2e, %s%s",
                point.stage, point.step, point.loss, point.learning_rate, speed, miou,
            )  # fmt: skip
        self._last_throughput = throughput
        self._meter.begin(self.images)


def diverged(what: str) -> TrainingError:
    """Return the error of a run that does not converge."""
    return TrainingError(
        f"{what}: the training diverged; lower learning_rate in the recipe, or use --precision fp32 or bf16."
    )
