"""The progress bar: steps of the stage, for people at a terminal."""

from __future__ import annotations

import sys

from lightning.pytorch.callbacks import TQDMProgressBar


class StepBar(TQDMProgressBar):
    """Count to the stage's last step; Lightning's own would not know where the data ends."""

    @property
    def total_train_batches(self) -> int | float:
        """Number of steps of the stage."""
        return self.trainer.max_steps


def wants_bar() -> bool:
    """Tell whether someone watches: a log file would fill with bars."""
    return sys.stderr.isatty() and sys.stdout.isatty()
