"""Lightning callbacks that save a run's state, stop it at a signal, and draw its progress bar."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

from erfnet_ros.training.loop.curves import TrainingCurves, diverged
from erfnet_ros.training.loop.lightning_module import stage_of

log = logging.getLogger(__name__)

_AGREE_STEPS = 10
"""Steps between two agreements of several processes on whether to stop or save: each costs a message."""


class StateSaver(Callback):
    """Saves a run's state every so many seconds, at each stage's end, and when Ctrl-C or SIGTERM stops the run.

    `stopped` tells whether a signal stopped the run, after its state was saved. The curves are called before it.
    """

    def __init__(self, path: Path, every_s: float, curves: TrainingCurves) -> None:
        self.stopped = False
        self._path, self._every_s, self._curves = path, every_s, curves
        self._stop_requested = False
        self._saved = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Handle Ctrl-C and SIGTERM from here on; Lightning restores the handlers at the end."""
        self._saved = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            # Lightning's own handler of SIGTERM makes all processes leave before they have saved.
            for signum in (signal.SIGINT, signal.SIGTERM):
                signal.signal(signum, self._request_stop)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and stop where one or both are due."""
        last = trainer.global_step == stage_of(pl_module).plan.steps
        stop, due = self._stop_requested, time.monotonic() - self._saved >= self._every_s
        if trainer.world_size > 1:
            agree = last or trainer.global_step % _AGREE_STEPS == 0
            stop = agree and bool(trainer.strategy.reduce_boolean_decision(stop, all=False))
            due = agree and bool(trainer.strategy.reduce_boolean_decision(due, all=False))
        if due or stop or last:
            self.save(trainer)
        if stop:
            self.stopped = trainer.should_stop = True

    def save(self, trainer: Trainer) -> None:
        """Save the run's state; every process must call it.

        Raises:
            TrainingError: Loss or weights are not finite, or the file cannot be written; the state before is kept.
        """
        module = stage_of(trainer.lightning_module)
        self._curves.mean_loss(module)
        # The loss is that of the weights before the step.
        if not all(bool(value.isfinite().all()) for value in module.state_dict().values()):
            raise diverged(f"Expected finite weights after step {module.plan.first_step + trainer.global_step}")
        with self._curves.paused():
            trainer.save_checkpoint(self._path)
        self._saved = time.monotonic()

    def _request_stop(self, signum: int, frame: FrameType | None) -> None:
        log.info(
            "Stopping once this step is done and its state saved, which takes as long as a step; "
            "press Ctrl-C again to stop at once without saving."
        )
        self._stop_requested = True
        if signum == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)


class EarlyStop(Callback):
    """Ends a stage once its mIoU has not risen for some validations, and keeps the best weights.

    `best` holds the network's tensors at the stage's highest mIoU; empty before the first validation. The curves are
    called before it.
    """

    def __init__(self, patience: int, curves: TrainingCurves) -> None:
        self.best: dict[str, Any] = {}
        self._patience, self._curves = patience, curves

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run continues from."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.best = state_dict["best"]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Compare a validation, where there was one after this step, with those before."""
        module = stage_of(pl_module)
        stage = [point for point in self._curves.points if point.stage == module.plan.stage.name]
        measured = [point.val_miou for point in stage if point.val_miou is not None]
        if not measured or stage[-1].val_miou is None or stage[-1].step != module.plan.first_step + trainer.global_step:
            return
        best = measured.index(max(measured))
        if best == len(measured) - 1:
            self.best = {name: tensor.clone() for name, tensor in module.result().state_dict().items()}
        elif len(measured) - 1 - best >= self._patience:
            log.info("No higher mIoU in %d validations: stage %s ends.", self._patience, module.plan.stage.name)
            trainer.should_stop = True


class StepBar(RichProgressBar):
    """Progress bar that counts to the stage's last step; Lightning's own counts epochs, which have no end here."""

    def __init__(self, curves: TrainingCurves) -> None:
        super().__init__()
        self._curves = curves

    @property
    def total_train_batches(self) -> int | float:
        """Number of steps of the stage."""
        return self.trainer.max_steps

    def _get_train_description(self, current_epoch: int) -> str:
        """Return the text before the bar."""
        return stage_of(self.trainer.lightning_module).plan.stage.name

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return the throughput, shown after the bar."""
        return dict(self._curves.throughput.texts())


def wants_bar() -> bool:
    """Tell whether the output is a terminal; a log file would fill with bars."""
    return sys.stderr.isatty() and sys.stdout.isatty()
