"""How a run is followed: signals, what is saved and what not, how fast it goes."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("lightning", reason="needs Lightning (the extra 'training')")

import torch

from erfnet_ros.errors import TrainingError
from erfnet_ros.network import ERFNet
from erfnet_ros.training.keeper import Keeper
from erfnet_ros.training.module import StageModule
from erfnet_ros.training.plan import plans
from erfnet_ros.training.recipe import Recipe

RECIPE = Recipe.from_dict({"stages": [{"name": "network", "part": "network", "phases": [{"steps": 100}]}]}, "test")


class Training:
    """A keeper and as much of Lightning's trainer as it looks at."""

    def __init__(self, run: Path, save_every_s: float = 3600.0) -> None:
        self.keeper = Keeper(run, None, save_every_s, 500, None, quiet=True)
        self.module = StageModule(ERFNet(3), plans(RECIPE, 8)[0], RECIPE, None)
        self.saved: list[int] = []
        self.logged: list[dict[str, float]] = []
        self.trainer: Any = SimpleNamespace(
            global_step=0,
            world_size=1,
            received_sigterm=False,
            should_stop=False,
            is_global_zero=True,
            lightning_module=self.module,
            loggers=[SimpleNamespace(log_metrics=lambda curves, step: self.logged.append(curves))],
            callbacks=[self.keeper],
            save_checkpoint=lambda path: self.saved.append(self.trainer.global_step),
        )
        self.keeper.on_train_start(self.trainer, self.module)

    def step(self, loss: float = 1.0) -> None:
        self.trainer.global_step += 1
        self.keeper.on_train_batch_end(self.trainer, self.module, {"loss": torch.tensor(loss)}, None, 0)


@pytest.fixture
def training(tmp_path: Path) -> Any:
    training = Training(tmp_path)
    yield training
    training.keeper.on_train_end(training.trainer, training.module)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_step_at_hand_and_stops(training: Training, signum: signal.Signals) -> None:
    """Lightning's own way with SIGTERM ends several processes before anything is saved."""
    training.step()
    os.kill(os.getpid(), signum)
    training.step()
    assert training.saved == [2]
    assert training.keeper.stopped
    assert training.trainer.should_stop


def test_a_second_sigterm_does_not_end_the_run_before_it_has_saved(training: Training) -> None:
    """A cluster sends it to the job and to each of its processes."""
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
    training.step()
    assert training.saved == [1]


def test_the_handlers_from_before_are_given_back(tmp_path: Path) -> None:
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    training = Training(tmp_path)
    assert signal.getsignal(signal.SIGTERM) not in before
    training.keeper.on_exception(training.trainer, training.module, RuntimeError())
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_run_in_another_thread_leaves_signals_alone(tmp_path: Path) -> None:
    """Only the main thread may set handlers."""
    before = signal.getsignal(signal.SIGTERM)
    made: list[Training] = []
    thread = Thread(target=lambda: made.append(Training(tmp_path)))
    thread.start()
    thread.join()
    assert made
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_loss_that_is_not_a_number_stops_the_run_before_the_state_is_overwritten(tmp_path: Path) -> None:
    """Saves go by time, and the last good state is all that is left of such a run."""
    training = Training(tmp_path, save_every_s=0.0)
    training.step()
    with pytest.raises(TrainingError, match="Expected a finite loss, got nan before step 2; lower learning_rate in"):
        training.step(math.nan)
    assert training.saved == [1]
    training.keeper.on_train_end(training.trainer, training.module)


def test_weights_that_a_step_broke_are_not_saved(tmp_path: Path) -> None:
    training = Training(tmp_path, save_every_s=0.0)
    with torch.no_grad():
        training.module.network.decoder.output_conv.bias[0] = math.inf
    with pytest.raises(TrainingError, match="Expected finite weights after step 1, got others; lower learning_rate"):
        training.step()
    assert training.saved == []
    training.keeper.on_train_end(training.trainer, training.module)
