"""The progress bar: steps of the stage, for people at a terminal."""

from __future__ import annotations

import sys
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

from erfnet_ros.training.loop.callbacks import Keeper


class StepBar(TQDMProgressBar):
    """Count to the stage's last step; Lightning's own would not know where the data ends."""

    @property
    def total_train_batches(self) -> int | float:
        """Number of steps of the stage."""
        return self.trainer.max_steps

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return what stands behind the bar: how fast the run goes."""
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        return next((keeper.pace.texts() for keeper in callbacks if isinstance(keeper, Keeper)), {})


def wants_bar() -> bool:
    """Tell whether someone watches: a log file would fill with bars."""
    return sys.stderr.isatty() and sys.stdout.isatty()
