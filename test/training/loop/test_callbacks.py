"""How a run is followed: signals, what is saved and what not, how fast it goes."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("lightning", reason="needs Lightning (the extra 'training')")

import torch

from erfnet_ros.core.errors import TrainingError
from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.training.config.recipe import Recipe
from erfnet_ros.training.config.schedule import plans
from erfnet_ros.training.loop import throughput as meter_module
from erfnet_ros.training.loop.callbacks import Keeper, StepBar
from erfnet_ros.training.loop.lightning_module import StageModule
from erfnet_ros.training.loop.throughput import Throughput, ThroughputMeter

RECIPE = Recipe.from_dict({"stages": [{"name": "network", "part": "network", "phases": [{"steps": 100}]}]}, "test")
GPU = torch.device("cuda", 0)


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
    """A cluster sends it to the setup and to each of its processes."""
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


def test_the_curves_tell_speed_and_use_of_the_gpu_where_it_is_known(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(50):
        training.step()
    assert training.keeper.points[-1].images_per_second == training.logged[-1]["images_per_second"]
    assert training.keeper.points[-1].gpu_utilization is None
    assert "gpu_utilization" not in training.logged[-1]
    monkeypatch.setattr(ThroughputMeter, "throughput", lambda meter, images: Throughput(80.0, 0.5))
    for _ in range(50):
        training.step()
    assert training.keeper.points[-1].gpu_utilization == training.logged[-1]["gpu_utilization"] == 0.5


def test_the_bar_tells_images_per_second(training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a bar there are no lines between validations."""
    training.step()
    assert set(StepBar().get_metrics(training.trainer, training.module)) == {"images/s"}
    monkeypatch.setattr(ThroughputMeter, "throughput", lambda meter, images: Throughput(80.0, 0.5))
    assert StepBar().get_metrics(training.trainer, training.module) == {"images/s": "80.0", "GPU": "50 %"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the meter's clock, which begins at 0."""
    now = [0.0]
    monkeypatch.setattr(meter_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return lambda seconds: now.__setitem__(0, seconds)


def test_a_period_tells_its_own_means(clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = iter((90, 50, 10))
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: next(predictions))
    meter = ThroughputMeter()
    for second in (0.5, 1.0, 1.5, 2.0):
        clock(second)
        meter.look(GPU)
    assert meter.throughput(30) == Throughput(15.0, 0.7)
    meter.begin(30)
    clock(4.0)
    meter.look(GPU)
    assert meter.throughput(40) == Throughput(5.0, 0.1)


def test_a_gpu_that_does_not_say_is_asked_once(clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def missing(device: torch.device) -> int:
        asked.append(device)
        raise ModuleNotFoundError("nvidia-ml-py does not seem to be installed")

    monkeypatch.setattr(torch.cuda, "utilization", missing)
    meter = ThroughputMeter()
    for second in (1.0, 2.0, 3.0):
        clock(second)
        meter.look(GPU)
        meter.look(torch.device("cpu"))
    assert asked == [GPU]
    assert meter.throughput(6) == Throughput(2.0, None)
