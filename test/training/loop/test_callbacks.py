"""Training curves, saved states and signals, under Lightning's own trainer."""

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
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from erfnet_ros.core.config_schema import build
from erfnet_ros.core.errors import TrainingError
from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.training.config.recipe import Recipe
from erfnet_ros.training.config.schedule import plans
from erfnet_ros.training.data.batches import Batch
from erfnet_ros.training.loop import curves as curves_module
from erfnet_ros.training.loop.callbacks import EarlyStop, StateSaver, StepBar
from erfnet_ros.training.loop.checkpoint_io import StateFile, read_state
from erfnet_ros.training.loop.curves import Throughput, ThroughputMeter, TrainingCurves
from erfnet_ros.training.loop.lightning_module import StageModule
from erfnet_ros.training.loop.validation import ValidationSet

GPU = torch.device("cuda", 0)


class AtStep(Callback):
    """Does something to the module before a step, 1 being the first."""

    def __init__(self, actions: dict[int, Callable[[StageModule], object]]) -> None:
        self.actions = actions

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.actions.get(trainer.global_step + 1, lambda module: None)(pl_module)  # type: ignore[arg-type]


class Training:
    """A small network in training by Lightning."""

    def __init__(self, run: Path, *, steps: int = 3, save_every_s: float = 3600.0) -> None:
        stage = {"name": "network", "part": "network", "phases": [{"steps": steps}]}
        recipe = build(Recipe, {"batch_size": 2, "stages": [stage]}, "test")
        self.state = run / "state.ckpt"
        self.curves = TrainingCurves()
        self.saver = StateSaver(self.state, save_every_s, self.curves)
        self.module = StageModule(ERFNet(3), plans(recipe, 2)[0], recipe, weights=None)
        self.run, self.steps = run, steps

    def fit(self, actions: dict[int, Callable[[StageModule], object]] | None = None, *more: Callback) -> None:
        torch.manual_seed(0)
        images, labels = torch.randint(0, 256, (2, 3, 16, 16)), torch.randint(0, 3, (2, 16, 16))
        batch: Batch = (images.byte(), labels.byte(), torch.ones(2, 4))
        trainer = Trainer(
            accelerator="cpu",
            max_steps=self.steps,
            callbacks=[AtStep(actions or {}), self.curves, *more, self.saver],
            plugins=[StateFile()],
            logger=CSVLogger(self.run, flush_logs_every_n_steps=1),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(self.module, DataLoader([batch] * self.steps, batch_size=None))  # type: ignore[arg-type]

    @property
    def saved_step(self) -> int:
        step: int = read_state(self.state)["global_step"]
        return step


def send(*signums: signal.Signals) -> Callable[[StageModule], object]:
    return lambda module: [os.kill(os.getpid(), signum) for signum in signums]


@pytest.mark.parametrize("signums", [(signal.SIGINT,), (signal.SIGTERM,), (signal.SIGTERM, signal.SIGTERM)])
def test_a_signal_saves_the_current_step_stops_and_gives_the_handlers_back(
    tmp_path: Path, signums: tuple[signal.Signals, ...]
) -> None:
    """Lightning's own SIGTERM handler stops before anything is saved; a cluster sends SIGTERM twice."""
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    training = Training(tmp_path)
    training.fit({2: send(*signums)})
    assert training.saved_step == 2
    assert training.saver.stopped
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_during_the_last_step_stops_before_the_next_stage_or_the_evaluation(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.fit({3: send(signal.SIGTERM)})
    assert training.saved_step == 3
    assert training.saver.stopped


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    training = Training(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit):
        training.fit({2: send(signal.SIGINT, signal.SIGINT)})
    assert not training.state.exists()
    assert signal.getsignal(signal.SIGINT) == before


def test_a_run_in_another_thread_leaves_signals_alone(tmp_path: Path) -> None:
    """Only the main thread may set handlers."""
    before = signal.getsignal(signal.SIGTERM)
    training = Training(tmp_path, steps=1)
    thread = Thread(target=training.fit)
    thread.start()
    thread.join()
    assert training.saved_step == 1
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_loss_that_is_not_finite_stops_the_run_at_once_and_keeps_the_state_before(tmp_path: Path) -> None:
    """Else a diverged run trains on for hours, and overwrites the last state that was good."""
    training = Training(tmp_path, steps=30, save_every_s=0.0)
    with pytest.raises(TrainingError, match=r"Expected a finite loss, got nan at step 3: .* lower learning_rate in"):
        training.fit({3: lambda module: torch.nn.init.constant_(module.network.decoder.output_conv.bias, math.nan)})
    assert training.saved_step == 2


def test_a_loss_that_has_risen_for_long_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate that is too high may keep the loss finite, and spoil a night."""
    monkeypatch.setattr(curves_module, "_POINT_STEPS", 1)
    training = Training(tmp_path, steps=30)
    worse = torch.tensor([99.0, -99.0, 0.0])
    with pytest.raises(TrainingError, match=r"a falling loss, got \d+.* at step 1\d: .* lower learning_rate"):
        training.fit({6: lambda module: module.network.decoder.output_conv.bias.data.add_(worse)})


@pytest.mark.parametrize(("mious", "steps"), [([0.3, 0.5, 0.4, 0.5, 0.6], 4), ([0.3, 0.5, 0.4], 3)])
def test_training_ends_once_the_miou_no_longer_rises_and_keeps_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mious: list[float], steps: int
) -> None:
    training = Training(tmp_path, steps=len(mious))
    frames = ValidationSet(None, (), "val")  # type: ignore[arg-type]
    training.curves = TrainingCurves(validation_set=frames, validate_every=1)
    monkeypatch.setattr(training.curves, "_validate", lambda *_: mious[training.curves.steps - 1])
    training.saver = StateSaver(training.state, 0.0, training.curves)
    early_stop = EarlyStop(2, training.curves)
    # Before the third step the weights are those after the second, the best.
    name, seen = "decoder.output_conv.bias", []
    training.fit({3: lambda module: seen.append(module.network.decoder.output_conv.bias.detach().clone())}, early_stop)
    assert training.curves.steps == steps
    assert torch.equal(early_stop.best[name], seen[0])
    assert torch.equal(read_state(training.state)["callbacks"]["EarlyStop"]["best"][name], seen[0])


def test_weights_that_a_step_broke_are_not_saved(tmp_path: Path) -> None:
    training = Training(tmp_path, save_every_s=0.0)
    with pytest.raises(TrainingError, match=r"Expected finite weights after step 2: .* lower learning_rate"):
        # No loss sees the encoder's head, which only the encoder's stage trains.
        training.fit({2: lambda module: torch.nn.init.constant_(module.network.encoder.output_conv.bias, math.inf)})
    assert training.saved_step == 1


def test_the_curves_hold_speed_and_use_of_the_gpu_where_it_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(tmp_path, steps=1)
    training.fit()
    (point,) = training.curves.points
    assert point.images_per_second is not None
    assert point.gpu_utilization is None
    (log,) = tmp_path.rglob("metrics.csv")
    assert log.read_text().splitlines()[0].split(",") == ["images_per_second", "learning_rate", "loss", "step"]
    assert set(StepBar(training.curves).get_metrics(None, training.module)) == {"images/s"}  # type: ignore[arg-type]

    monkeypatch.setattr(ThroughputMeter, "throughput", lambda meter, images: Throughput(80.0, 0.5))
    training = Training(tmp_path, steps=1)
    training.fit()
    assert training.curves.points[0].gpu_utilization == 0.5
    assert training.curves.throughput.texts() == {"images/s": "80.0", "GPU": "50 %"}


@pytest.mark.parametrize("known", [True, False])
def test_a_period_has_its_own_means_and_an_unknown_utilization_is_asked_for_once(
    monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    now, asked = [0.0], []

    def utilization(device: torch.device) -> int:
        asked.append(device)
        if not known:
            raise ModuleNotFoundError("nvidia-ml-py does not seem to be installed")
        return (90, 50, 10)[len(asked) - 1]

    monkeypatch.setattr(curves_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(torch.cuda, "utilization", utilization)
    meter = ThroughputMeter()
    for now[0] in (0.5, 1.0, 1.5, 2.0):
        meter.sample_gpu(GPU)
        meter.sample_gpu(torch.device("cpu"))
    assert meter.throughput(30) == Throughput(15.0, 0.7 if known else None)
    meter.begin(30)
    now[0] = 4.0
    meter.sample_gpu(GPU)
    assert meter.throughput(40) == Throughput(5.0, 0.1 if known else None)
    assert asked == [GPU] * (3 if known else 1)
