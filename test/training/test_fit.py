"""`erfnet train` on data sets of a few small frames."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="needs Lightning (the extra 'training')")

import numpy as np
import torch
import yaml
from support.small_datasets import SIZE, frame, make_camvid, make_cityscapes, make_folder, write
from support.teachers import make_teacher
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from erfnet_ros.commands.cli import main
from erfnet_ros.core.class_set import CITYSCAPES
from erfnet_ros.models import checkpoint as checkpoints
from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.training.history import Evaluation, History
from erfnet_ros.training.loop.tensorboard_images import ImageLogger

DEADLINE_S = 120
ROOT = Path(__file__).resolve().parents[2]

TWO_STAGES = {
    "batch_size": 2,
    "ema_decay": 0.9,
    "validate_every": 4,
    "loss": {"overlap_weight": 0.5},
    "stages": [
        {"name": "encoder", "part": "encoder", "phases": [{"steps": 5, "crop": [32, 32], "shift": 2}]},
        {
            "name": "network",
            "part": "network",
            "schedule": {"name": "cosine", "warmup_steps": 2},
            "phases": [
                {"steps": 5, "crop": [32, 24], "scale": [0.5, 1.5], "rare_class_fraction": 0.5, "color_jitter": 0.3}
                | {"tint": 0.2, "blur": 1.5, "noise": 0.05, "paste_fraction": 0.5},
                {"steps": 6, "crop": "frame", "scale": [0.8, 1.2], "aspect_jitter": 0.1, "dropout": 0.1},
            ],
        },
    ],
}
"""Whatever could make a resumed run differ: two stages, two phases, dropout, noise, pasting, an average, a schedule."""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "two_stages.yaml"
    path.write_text(yaml.safe_dump(TWO_STAGES))
    return path


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_camvid(tmp_path_factory.mktemp("camvid"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, recipe: Path, camvid: Path) -> Path:
    """The folder of a run that nobody interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert train("camvid", camvid, run, "--recipe", str(recipe), "--frames", "memory") == 0
    return run


@pytest.fixture(scope="module")
def one_step(tmp_path_factory: pytest.TempPathFactory, camvid: Path) -> Path:
    """The folder of a finished run of one step."""
    run = tmp_path_factory.mktemp("one_step") / "run"
    assert _train_one_step(run, camvid) == 0
    return run


def train(kind: str, data: Path, run: Path, *options: str) -> int:
    return main(["train", kind, "--data", str(data), "--out", str(run), "--device", "cpu", "--workers", "1", *options])


def started(*arguments: str) -> subprocess.Popen[str]:
    """Start `erfnet train` as a process with as many threads as this one: sums depend on how they are split."""
    program = [sys.executable, str(ROOT / "scripts" / "erfnet"), "train"]
    return subprocess.Popen(
        [*program, *arguments, "--device", "cpu"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"{path} did not come within {DEADLINE_S} s"
        time.sleep(0.01)


def weights(run: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / "state.ckpt", weights_only=True)["state_dict"]
    return state


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_and_resumed_run_equals_the_uninterrupted_one_bit_for_bit(
    tmp_path: Path, recipe: Path, camvid: Path, whole: Path, how: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise a night's run would have to start again after a power cut, or be another experiment."""
    parts = tmp_path / "parts"
    arguments = ["camvid", "--data", str(camvid), "--out", str(parts), "--recipe", str(recipe), "--save-every", "0"]
    # Ctrl-C and SIGTERM to a group reach the processes that read frames, too.
    frames = ["--workers", "1", "--frames", "memory" if how == signal.SIGKILL else "disk"]
    with started(*arguments, *frames) as process:
        wait_for(parts / "state.ckpt", process)
        assert train("camvid", camvid, parts, "--resume") == 2, "two runs would write into one folder"
        assert f"no other run uses, got '{parts}'" in capsys.readouterr().err
        os.killpg(process.pid, how)
        output = process.communicate(timeout=DEADLINE_S)[0]
    assert "Traceback" not in output, output
    assert process.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    assert not (parts / "checkpoint.safetensors").exists(), "the run was over before it was interrupted"

    if how == signal.SIGTERM:
        before = torch.load(parts / "state.ckpt", weights_only=True)["global_step"]
        assert f"The state after step {before} is saved" in output
        assert "Stopped; continue with --resume." in output
    assert train("camvid", camvid, parts, "--resume") == 0
    expected, resumed = weights(whole), weights(parts)
    assert expected.keys() == resumed.keys()
    assert [name for name, tensor in expected.items() if not torch.equal(tensor, resumed[name])] == []
    assert (whole / "checkpoint.safetensors").read_bytes() == (parts / "checkpoint.safetensors").read_bytes()
    assert History.read(whole).points == History.read(parts).points
    assert "--save-every 0" in History.read(parts).command, "a repetition needs the first command"
    assert list(parts.glob("*.partial")) == [], "temporary files stay and fill the disk"


@pytest.mark.parametrize("to_all", [True, False])
def test_ctrl_c_while_streets_are_rendered_ends_the_run_within_seconds(
    tmp_path: Path, camvid: Path, to_all: bool
) -> None:
    """A terminal's Ctrl-C reaches the rendering processes, `kill -INT` the run alone."""
    run, recipe = tmp_path / "run", tmp_path / "streets.yaml"
    recipe.write_text(yaml.safe_dump({**TWO_STAGES, "synthetic": {"streets": 10_000, "frames": 1}}))
    arguments = ["camvid", "--data", str(camvid), "--out", str(run), "--recipe", str(recipe)]
    with started(*arguments, "--workers", "2") as process:
        output = iter(process.stdout or [])
        assert any("Rendering 10000 synthetic frames" in line for line in output)
        (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
        interrupted = time.monotonic()
        rest = "".join(output)
    assert time.monotonic() - interrupted < 3
    assert process.returncode == 130
    # The second is said where the rendering processes do not end in time.
    assert rest.removeprefix("erfnet train: ") in (
        "Stopped before the first state was saved; start again with the same command.\n",
        "interrupted; add --resume to continue from the last saved state, if there is one.\n",
    )
    assert list(run.iterdir()) == []


def test_two_processes_save_before_they_leave_at_sigterm(tmp_path: Path, camvid: Path) -> None:
    """Else "continue with --resume" would be said of a run that is hours behind."""
    run, recipe = tmp_path / "run", tmp_path / "endless.yaml"
    stage = {"name": "network", "part": "network", "phases": [{"steps": 100_000, "crop": [16, 16]}]}
    recipe.write_text(yaml.safe_dump({"batch_size": 2, "stages": [stage]}))
    arguments = ["camvid", "--data", str(camvid), "--out", str(run), "--recipe", str(recipe), "--save-every", "0"]
    with started(*arguments, "--devices", "2", "--validate-on", "none") as process:
        wait_for(run / "state.ckpt", process)
        process.terminate()
        output = process.communicate(timeout=DEADLINE_S)[0]
    assert process.returncode == 130, output
    saved = torch.load(run / "state.ckpt", weights_only=True)["global_step"]
    assert f"The state after step {saved} is saved" in output


def test_frames_on_disk_train_the_same_weights_as_frames_in_memory(
    tmp_path: Path, recipe: Path, camvid: Path, whole: Path
) -> None:
    """Otherwise a result would depend on how much memory a machine has free."""
    run = tmp_path / "run"
    assert train("camvid", camvid, run, "--recipe", str(recipe), "--frames", "disk", "--validate-on", "none") == 0
    in_memory, on_disk = weights(whole), weights(run)
    assert [name for name, tensor in in_memory.items() if not torch.equal(tensor, on_disk[name])] == []


def test_another_seed_trains_other_weights(tmp_path: Path, camvid: Path, one_step: Path) -> None:
    assert _train_one_step(tmp_path / "run", camvid, "--seed", "2") == 0
    name = "network.decoder.output_conv.weight"
    assert not torch.equal(weights(one_step)[name], weights(tmp_path / "run")[name])


def test_the_cityscapes_layout_trains_with_the_papers_recipe_is_evaluated_and_exported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The whole way of a user, with curves, pictures and report left behind."""
    data, run = make_cityscapes(tmp_path / "cityscapes"), tmp_path / "run"
    caplog.set_level("INFO")
    assert train("cityscapes", data, run, "--recipe", "paper", "--epochs", "2", "--batch-size", "2") == 0

    checkpoint = checkpoints.load(run / "checkpoint.safetensors")
    assert checkpoint.class_set == CITYSCAPES
    assert checkpoint.input_size == SIZE
    evaluation, history = Evaluation.read(run), History.read(run)
    assert evaluation is not None
    assert evaluation.split == "val"
    assert checkpoint.miou is not None
    assert f"mIoU on val: {100 * checkpoint.miou:.2f} %" in caplog.text
    assert "images/s" in caplog.text
    assert [point.stage for point in history.points if point.val_miou is not None] == ["encoder", "network"]
    # Two stages of 2 epochs of 4 frames, 2 at a time.
    assert (history.steps, history.images) == (8, 16)
    assert all((run / frame.picture).is_file() for frame in (*evaluation.best, *evaluation.worst))
    assert "<html" in (run / "report.html").read_text().lower()
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert {"loss", "learning_rate", "val_miou"} <= set(events.Tags()["scalars"])
    assert {"crops", "frame_0"} <= set(events.Tags()["images"])

    weights_file, json_file = str(run / "checkpoint.safetensors"), tmp_path / "figures.json"
    evaluate = ["evaluate", "cityscapes", "--data", str(data), "--split", "val", "--checkpoint", weights_file]
    assert main([*evaluate, "--json", str(json_file)]) == 0
    assert json.loads(json_file.read_text())["miou"] == pytest.approx(checkpoint.miou, abs=1e-9)
    assert main(["export", weights_file, "-o", str(tmp_path / "network.onnx"), "--size", "64x48"]) == 0
    assert (tmp_path / "network.onnx").stat().st_size > 1_000_000


def test_a_checkpoint_to_begin_with_is_where_training_begins(tmp_path: Path, camvid: Path, one_step: Path) -> None:
    """One step at a tiny rate must end near the weights that it started from."""
    first = one_step / "checkpoint.safetensors"
    assert _train_one_step(tmp_path / "further", camvid, "--init", str(first), "--seed", "5") == 0
    before = checkpoints.load(first).state_dict["decoder.output_conv.weight"]
    after = checkpoints.load(tmp_path / "further" / "checkpoint.safetensors").state_dict["decoder.output_conv.weight"]
    torch.testing.assert_close(after, before, rtol=0, atol=1e-3)


def test_a_checkpoint_of_other_classes_is_where_training_begins(tmp_path: Path, camvid: Path) -> None:
    other = tmp_path / "cityscapes.safetensors"
    state = ERFNet(len(CITYSCAPES)).state_dict()
    checkpoints.save(checkpoints.Checkpoint(CITYSCAPES, state, SIZE, "nothing", None, ""), other)
    assert _train_one_step(tmp_path / "run", camvid, "--init", str(other)) == 0
    after = checkpoints.load(tmp_path / "run" / "checkpoint.safetensors").state_dict
    name = "encoder.layers.3.conv3x1_1.weight"
    torch.testing.assert_close(after[name], state[name], rtol=1e-3, atol=2e-3)


def test_a_teacher_trains_on_unlabeled_frames_of_another_camera_too(
    tmp_path: Path, recipe: Path, camvid: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher, _ = make_teacher(tmp_path / "teacher.onnx", ("road", "sky", "animal"))
    for number, size in enumerate([(80, 60), (100, 40), (40, 90)]):
        write(tmp_path / "yard" / f"{number}.png", frame(number, size)[0])
    options = ("--recipe", str(recipe), "--teacher", str(teacher), "--unlabeled", str(tmp_path / "yard"))
    for name in ("memory", "disk"):
        assert train("camvid", camvid, tmp_path / name, *options, "--frames", name) == 0
    found, on_disk = weights(tmp_path / "memory"), weights(tmp_path / "disk")
    assert all(torch.equal(found[name], on_disk[name]) for name in found)
    last = "network.decoder.output_conv.weight"
    assert not torch.equal(found[last], weights(whole)[last])
    text = checkpoints.load(tmp_path / "memory" / "checkpoint.safetensors").data
    assert "and 3 unlabeled frames, with the teacher teacher.onnx" in text
    # Without the teacher another network would come out.
    assert train("camvid", camvid, tmp_path / "memory", "--resume") == 2
    assert "teacher was " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--unlabeled", "yard"), "Expected --teacher with --unlabeled, got none"),
        (("--teacher", "none.onnx"), "got 'none.onnx', which is no file"),
    ],
)
def test_a_teacher_that_is_missing_is_named(
    tmp_path: Path, camvid: Path, options: tuple[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("camvid", camvid, tmp_path / "run", *options) == 2
    assert message in capsys.readouterr().err


def test_a_recipe_with_patience_needs_a_split_to_validate_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(tmp_path / "yard", {"": 1})
    assert train("folder", root, tmp_path / "run", "--recipe", "finetune") == 2
    assert "which the patience of recipe finetune needs, got none" in capsys.readouterr().err


def test_one_class_alone_is_nothing_to_train_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_folder(tmp_path / "yard", {"": 2})
    for path in (root / "labels").iterdir():
        write(path, np.zeros((48, 64), np.uint8))
    assert train("folder", root, tmp_path / "run", "--recipe", "finetune") == 2
    assert "two classes or more in split train of yard to train on, got 1" in capsys.readouterr().err


def test_nothing_to_resume_is_an_error(tmp_path: Path, camvid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("camvid", camvid, tmp_path / "run", "--resume") == 2
    assert f"Expected an interrupted run in {tmp_path / 'run'} to resume" in capsys.readouterr().err


def test_only_the_same_run_is_resumed_and_a_finished_one_is_not_overwritten(
    tmp_path: Path, camvid: Path, one_step: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = one_step
    assert _train_one_step(run, camvid, "--resume", "--seed", "9") == 2
    assert "recipe.seed was 1 and is 9" in capsys.readouterr().err
    other = make_camvid(tmp_path / "other", {"train": 5, "val": 2, "test": 2})
    assert _train_one_step(run, other, "--resume") == 2
    assert "files was '4 frames, " in capsys.readouterr().err
    assert _train_one_step(run, camvid) == 2
    assert f"Expected a new folder for a new run, got {run}, which holds a run" in capsys.readouterr().err
    before = (run / "checkpoint.safetensors").read_bytes()
    assert _train_one_step(run, camvid, "--resume") == 0
    assert (run / "checkpoint.safetensors").read_bytes() == before, "a finished run has nothing left to train"


def test_a_corrupt_picture_in_the_middle_is_found_before_the_first_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_camvid(tmp_path / "camvid")
    label = sorted((data / "train" / "labels").iterdir())[2]
    label.write_bytes(label.read_bytes()[:60])
    assert _train_one_step(tmp_path / "run", data, "--frames", "disk") == 2
    assert label.name in capsys.readouterr().err
    assert not (tmp_path / "run" / "state.ckpt").exists()


def test_a_full_disk_while_saving_is_an_error_and_leaves_the_state_before(
    tmp_path: Path, camvid: Path, recipe: Path
) -> None:
    """The second save is refused by a limit on the size of files, which is what a full disk does to a write."""
    run = tmp_path / "run"
    arguments = ["camvid", "--data", str(camvid), "--out", str(run), "--recipe", str(recipe), "--save-every", "0"]
    with started(*arguments) as process:
        wait_for(run / "state.ckpt", process)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
        output = process.communicate(timeout=DEADLINE_S)[0]
    assert process.returncode == 2, output
    assert f"Cannot write {run / 'state.ckpt'}: File too large; the state saved before is intact" in output
    assert torch.load(run / "state.ckpt", weights_only=True)["global_step"] >= 1
    assert list(run.glob("*.partial")) == []


def test_frames_of_several_sizes_leave_a_checkpoint_of_the_commonest_and_an_absent_class_is_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the last crop's size a camera's image would be shrunk far below the scale of the training."""
    data = make_folder(tmp_path / "own", {"train": 2})
    make_folder(tmp_path / "larger", {"train": 4}, (80, 64))
    for kind, suffix in (("images", "jpg"), ("labels", "png")):
        name = Path(kind) / "train" / f"frame_3.{suffix}"
        (tmp_path / "larger" / name).rename(data / name)
    classes = yaml.safe_load((data / "classes.yaml").read_text())
    classes["classes"].append({"name": "unicorn", "color": [255, 0, 255]})
    (data / "classes.yaml").write_text(yaml.safe_dump(classes))
    assert _train_one_step(tmp_path / "run", data, kind="folder") == 0
    assert checkpoints.load(tmp_path / "run" / "checkpoint.safetensors").input_size == SIZE
    told = [record.getMessage() for record in caplog.records if "unicorn" in record.getMessage()]
    assert told == ["No pixel of split train of own is unicorn: the network will not learn this."]


def test_a_full_disk_under_tensorboard_is_an_error_too(
    tmp_path: Path, camvid: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ImageLogger, "crops", full)
    assert _train_one_step(tmp_path / "run", camvid) == 2
    error = f"Cannot write {tmp_path / 'run'}: No space left on device; no state was saved yet. Free some space"
    assert error in capsys.readouterr().err


def _train_one_step(run: Path, data: Path, *options: str, kind: str = "camvid") -> int:
    recipe = run.parent / "one_step.yaml"
    optimizer = {"learning_rate": 1e-6}
    stage = {"name": "network", "part": "network", "optimizer": optimizer, "phases": [{"steps": 1, "crop": [32, 24]}]}
    recipe.write_text(yaml.safe_dump({"batch_size": 2, "stages": [stage]}))
    return train(kind, data, run, "--recipe", str(recipe), "--validate-on", "none", *options)
