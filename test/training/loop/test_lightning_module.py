"""Steps of a training stage, the memory check, and the file of a run's state."""

from __future__ import annotations

import errno
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

pytest.importorskip("lightning", reason="needs Lightning (the extra 'training')")

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from erfnet_ros.core.array_types import VOID
from erfnet_ros.core.config_schema import build
from erfnet_ros.core.errors import TrainingError
from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.training.config.recipe import Recipe
from erfnet_ros.training.config.request import STATE
from erfnet_ros.training.config.schedule import Plan, plans
from erfnet_ros.training.loop.checkpoint_io import StateFile, read_state, report_full_disk
from erfnet_ros.training.loop.lightning_module import StageModule, labels_of, logits_of, set_dropout
from erfnet_ros.training.loop.memory_check import check_batch, out_of_memory_in_training

CLASSES = 3


def recipe(**changes: Any) -> Recipe:
    adam = {"name": "adam", "decayed": "all"}
    stages = [
        {"name": "encoder", "part": "encoder", "optimizer": adam, "phases": [{"steps": 2}]},
        {"name": "network", "part": "network", "phases": [{"steps": 2, "dropout": 0.1}]},
    ]
    return build(Recipe, {"stages": stages, **changes}, "test")


def planned() -> tuple[Plan, Plan]:
    encoder, network = plans(recipe(), frames=4)
    return encoder, network


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    images = torch.randint(0, 256, (2, 3, 20, 28), dtype=torch.uint8)
    return images, torch.randint(0, CLASSES, (2, 20, 28), dtype=torch.uint8), torch.ones(2, 9)


def test_each_stage_trains_its_part_and_nothing_waits_for_a_gradient() -> None:
    """Several processes wait for the gradient of each parameter; one that never comes stops them all."""
    names = {name for name, _ in ERFNet(CLASSES).named_parameters()}
    head = {name for name in names if name.startswith("encoder.output_conv")}
    encoder_names = {name for name in names if name.startswith("encoder")}
    for plan, expected in zip(planned(), (encoder_names, names - head), strict=True):
        module = StageModule(ERFNet(CLASSES), plan, recipe(), weights=None)
        module.training_step(batch(), 0).backward()
        reached = {name for name, parameter in module.network.named_parameters() if parameter.grad is not None}
        may_train = {name for name, parameter in module.network.named_parameters() if parameter.requires_grad}
        assert reached == may_train == expected


def test_the_encoders_labels_are_the_middle_pixel_of_each_square_and_meet_its_logits() -> None:
    encoder, network = planned()
    images, labels, _ = batch()
    small = labels_of(encoder, labels)
    assert logits_of(encoder)(ERFNet(CLASSES), images.float()).shape[-2:] == small.shape[-2:] == (3, 4)
    assert small[0, 1, 2] == labels[0, 12, 20]
    # The third row of squares lies half outside the 20 rows: its middle is void.
    assert (small[:, 2] == VOID).all()
    assert labels_of(network, labels) is labels


def test_pasting_follows_from_seed_and_step() -> None:
    """A resumed run must paste what the run would have pasted."""
    stage = {"name": "network", "part": "network", "phases": [{"steps": 2, "paste_fraction": 1.0}]}
    pasting = recipe(stages=[stage], seed=2)
    module = StageModule(ERFNet(CLASSES), plans(pasting, frames=4)[0], pasting, weights=None, rare_classes=[2])
    _, labels, _ = batch()
    first, second = (module.on_after_batch_transfer(batch(), 0) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert set(first[1][first[1] != labels].tolist()) == {2}


@pytest.fixture
def averaging() -> StageModule:
    """A module whose average is that of the weights, with the decay of a long run."""
    module = StageModule(ERFNet(CLASSES), planned()[1], recipe(ema_decay=0.9), weights=None)
    module.on_train_start()
    return module


def test_the_average_begins_short_and_settles_at_the_recipes_decay(averaging: StageModule) -> None:
    bias = "decoder.output_conv.bias"
    average = averaging.result()
    with torch.no_grad():
        average.get_parameter(bias).zero_()
        averaging.network.get_parameter(bias).fill_(1.0)
    averaging.update_average(1)
    expected = 1 - 2 / 11
    assert average.get_parameter(bias).tolist() == pytest.approx([expected] * CLASSES)
    averaging.update_average(10_000)
    assert average.get_parameter(bias).tolist() == pytest.approx([expected + 0.1 * (1 - expected)] * CLASSES)
    assert average is averaging.average


def test_the_average_is_pytorchs_over_weights_and_batch_norms_statistics(averaging: StageModule) -> None:
    """Without the statistics the averaged network would normalize as the untrained one."""
    expected = AveragedModel(averaging.network, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    expected.update_parameters(averaging.network)
    for seed in (1, 2):
        averaging.training_step(batch(seed), 0)
        with torch.no_grad():
            for parameter in averaging.network.parameters():
                parameter.add_(0.1)
        averaging.update_average(10_000)
        expected.update_parameters(averaging.network)
    states = expected.module.state_dict()
    assert all(
        torch.equal(value, states[name])
        for name, value in averaging.result().state_dict().items()
        if value.is_floating_point()
    )


def test_without_a_compiler_a_recipe_that_compiles_trains_uncompiled_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The default recipe compiles; not every computer has a compiler."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    _, plan = planned()
    StageModule(ERFNet(CLASSES), plan, recipe(compile=True), weights=None).training_step(batch(), 0).backward()
    assert "Found no C++ compiler, so the recipe's compile: true is ignored" in caplog.text


def test_only_kernels_decay_unless_the_recipe_says_all() -> None:
    encoder, network = planned()
    groups = (
        StageModule(ERFNet(CLASSES), network, recipe(), weights=None).configure_optimizers()["optimizer"].param_groups
    )
    assert [group["weight_decay"] for group in groups] == [0.01, 0.0]
    assert all(parameter.ndim > 1 for parameter in groups[0]["params"])
    assert all(parameter.ndim == 1 for parameter in groups[1]["params"])
    optimizer = StageModule(ERFNet(CLASSES), encoder, recipe(), weights=None).configure_optimizers()["optimizer"]
    assert isinstance(optimizer, torch.optim.Adam)
    assert len(optimizer.param_groups) == 1


def test_the_body_takes_its_own_rate_and_frozen_statistics_stay() -> None:
    """Twenty images teach new heads; what thousands taught the body, and its statistics, must survive them."""
    stage = {"name": "heads", "part": "network", "frozen_statistics": True, "phases": [{"steps": 1}]}
    tuned = build(Recipe, {"stages": [stage | {"optimizer": {"learning_rate": 0.01, "body_rate": 0.0}}]}, "test")
    module = StageModule(ERFNet(CLASSES), plans(tuned, 4)[0], tuned, weights=None)
    before = {name: tensor.clone() for name, tensor in module.network.state_dict().items()}
    optimizer = module._optimizer()
    module.on_train_batch_start(batch(), 0)
    module.training_step(batch(), 0).backward()
    optimizer.step()
    after = module.network.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed == {"decoder.output_conv.weight", "decoder.output_conv.bias"}


def test_dropout_is_the_recipes_or_the_papers() -> None:
    network = ERFNet(CLASSES, 0.7, 0.7)

    def rates() -> list[float]:
        return [layer.p for layer in network.encoder.modules() if isinstance(layer, nn.Dropout2d)]

    set_dropout(network, None)
    assert rates() == [0.03] * 5 + [0.3] * 8
    set_dropout(network, 0.1)
    assert rates() == [0.1] * 13


OUT_OF_MEMORY = torch.OutOfMemoryError("too large")


def check(crops: int, *, fits: int, fault: Exception = OUT_OF_MEMORY, processes: int = 1) -> list[int]:
    """Check a batch on a GPU that takes `fits` crops; return what was tried."""
    tried = []

    def step(crops: int) -> None:
        tried.append(crops)
        if crops > fits:
            raise fault

    check_batch(crops, step, where="64x48 in the memory of cuda:0", processes=processes)
    return tried


def test_a_batch_that_is_too_large_names_the_largest_half_that_fits() -> None:
    message = r"Expected room for 12 crops per step of 64x48 .*cuda:0.*--batch-size 6, which fits"
    with pytest.raises(TrainingError, match=message):
        check(12, fits=3, processes=2)
    assert check(3, fits=3) == [3]
    with pytest.raises(TrainingError, match=r"not even one crop fits: free the GPU.*\(too large\)\.$"):
        check(2, fits=0)


def test_another_error_than_want_of_memory_is_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="illegal memory access"):
        check(2, fits=1, fault=RuntimeError("CUDA error: an illegal memory access was encountered"))


def test_advice_in_the_midst_of_training_can_be_followed() -> None:
    """A batch of one has no half, and there is nothing to resume before the first save."""
    said = {
        (crops, saved): str(out_of_memory_in_training(crops, processes=processes, device="cuda:0", saved=saved))
        for crops, processes in ((8, 2), (1, 1), (2, 2))
        for saved in (True, False)
    }
    assert "continue with --resume, or start a new run in another folder with --batch-size 4." in said[8, True]
    assert "nothing was saved yet: free the GPU and start again, or start with --batch-size 4." in said[8, False]
    assert "--resume, or start a new run in another folder with smaller crops in the recipe." in said[1, True]
    assert all("--batch-size 0" not in text for text in said.values())
    assert all("--resume" not in text for (_, saved), text in said.items() if not saved)


def test_a_state_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    """Here the folder is gone; a full disk is the same error (see test_training_run.py)."""
    StateFile().save_checkpoint({"step": 1}, tmp_path / "state.ckpt")
    assert read_state(tmp_path / "state.ckpt") == {"step": 1}
    with pytest.raises(TrainingError, match=r"Cannot write .*no state was saved yet. Free some space and start again"):
        StateFile().save_checkpoint({"step": 2}, tmp_path / "gone" / "state.ckpt")
    assert [path.name for path in tmp_path.iterdir()] == ["state.ckpt"]


def test_a_full_disk_is_told_once_whoever_meets_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """TensorBoard's thread prints a traceback of its own, and raises again where it is used next."""

    def fill() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    @report_full_disk(tmp_path / STATE)
    def train() -> None:
        thread = Thread(target=fill)
        thread.start()
        thread.join()
        fill()

    (tmp_path / STATE).touch()
    with pytest.raises(TrainingError, match=r"Cannot write .*: No space left on device; the state saved before is int"):
        train()
    assert "Traceback" not in capfd.readouterr().err
    with pytest.raises(OSError, match="Too many open files"), report_full_disk(tmp_path / STATE):
        raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize("content", [b"", b"no state", b"\x80\x02N."])
def test_a_file_that_is_no_state_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.ckpt").write_bytes(content)
    with pytest.raises(TrainingError, match=r"Expected a state of .erfnet train. in .*state.ckpt"):
        read_state(tmp_path / "state.ckpt")
