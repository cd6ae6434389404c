"""Ctrl-C during each `erfnet` command: exit code, message, and no half-written file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import pytest
from support.evaluation_samples import shots, write_bag
from support.small_datasets import SIZE, make_camvid, make_cityscapes

from erfnet_ros.core.class_set import CITYSCAPES
from erfnet_ros.models.checkpoint import Checkpoint, save
from erfnet_ros.models.erfnet import ERFNet

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "erfnet"

LIMIT_S = 3.0
"""How long a command may go on after the signal, on a busy machine as well."""

AGAIN = "run the same command again to start over."
RESUME = "add --resume to continue from the last saved state, if there is one."

COMMANDS = {
    "segment DATA/camvid/test/images -o OUT/masks": AGAIN,
    "evaluate camvid --data DATA/camvid --json OUT/scores.json": AGAIN,
    "evaluate-bag DATA/bag -o OUT/report": "run the same command again to resume.",
    "evaluate-bag --live DATA/bag -o OUT/live": AGAIN,
    "demo --out OUT/demo": AGAIN,
    "train camvid --data DATA/camvid --out OUT/run": RESUME,
    "export -o OUT/network.onnx": AGAIN,
    "benchmark": AGAIN,
    "calibrate DATA/nineteen.safetensors --images DATA/camvid/test/images -o OUT/calibrated.safetensors": AGAIN,
    "build-engine": AGAIN,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    make_camvid(root / "camvid")
    make_cityscapes(root / "cityscapes", {"train": 1, "val": 1, "test": 1})
    (frame,) = (root / "cityscapes" / "leftImg8bit" / "val").rglob("*.png")
    (label,) = (root / "cityscapes" / "gtFine" / "val").rglob("*.png")
    for number in range(3000):
        for file in (frame, label):
            file.with_name(file.name.replace("_000000_", f"_{number + 1:06d}_")).symlink_to(file)
    weights = Checkpoint(CITYSCAPES, ERFNet(len(CITYSCAPES)).state_dict(), SIZE, "none", None, "Apache-2.0")
    save(weights, root / "nineteen.safetensors")
    write_bag(root / "bag", shots()[:2])
    return root


def start(command: str, data: Path, out: Path) -> subprocess.Popen[str]:
    """Start a command through the installed script."""
    words = [word.replace("DATA", str(data)).replace("OUT", str(out)) for word in command.split()]
    left_out = ("ROS_DOMAIN_ID", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *words],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def interrupt(process: subprocess.Popen[str], at: Callable[[], bool]) -> str:
    """Send SIGINT to the command and what it started once `at` is true; return what it wrote to stderr."""
    try:
        deadline_s = time.monotonic() + 120
        while not at():
            assert process.poll() is None, f"the command ended too early: {process.communicate()[1]}"
            assert time.monotonic() < deadline_s
            time.sleep(0.002)
        sent_s = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        error = process.communicate(timeout=60)[1]
        took_s = time.monotonic() - sent_s
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, error
    assert took_s < LIMIT_S
    return error


@pytest.mark.parametrize("command", COMMANDS)
def test_an_interrupt_while_libraries_are_imported_ends_the_command(command: str, data: Path, tmp_path: Path) -> None:
    """Some of them turn the interrupt into an error of their own, and print tracebacks."""
    if "--live" in command or command.startswith("demo"):
        pytest.importorskip("rclpy")
    if command.startswith("train"):
        pytest.importorskip("lightning")
    process = start(command, data, tmp_path)
    maps = Path(f"/proc/{process.pid}/maps")
    error = interrupt(process, lambda: "libtorch_cpu" in maps.read_text())
    assert error == f"erfnet {command.split()[0]}: interrupted; {COMMANDS[command]}\n"
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "node.log"] == []


def test_an_interrupted_evaluation_leaves_whole_files(data: Path, tmp_path: Path) -> None:
    command = "evaluate cityscapes --data DATA/cityscapes --checkpoint DATA/nineteen.safetensors --precision fp32"
    process = start(f"{command} --input-size 64x48 --json OUT/scores.json --export-server OUT/labels", data, tmp_path)
    error = interrupt(process, lambda: len(list((tmp_path / "labels").glob("*.png"))) > 2)
    assert error == f"erfnet evaluate: interrupted; {AGAIN}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["labels"], "a lock or a partial file is left"
    assert all(cv2.imread(str(path)) is not None for path in (tmp_path / "labels").iterdir())


def test_an_interrupted_bag_is_not_there(tmp_path: Path) -> None:
    process = start("bag make synthetic --frames 100000 -o OUT/bag", tmp_path, tmp_path)
    error = interrupt(process, lambda: any(file.stat().st_size for file in tmp_path.rglob("*.mcap")))
    assert error == f"erfnet bag: interrupted; {AGAIN}\n"
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_ends_a_command_soon_even_in_native_code(tmp_path: Path) -> None:
    """The video is a pipe that nobody fills: OpenCV waits in it, and Python's signal handler never runs."""
    pipe = tmp_path / "endless.mp4"
    os.mkfifo(pipe)
    writers: list[int] = []

    def is_read() -> bool:
        # Opening for writing succeeds once the command has opened the pipe for reading.
        with suppress(OSError):
            writers.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        return bool(writers)

    try:
        error = interrupt(start(f"bag make {pipe} -o OUT/bag", tmp_path, tmp_path), is_read)
    finally:
        for writer in writers:
            os.close(writer)
    assert error == f"erfnet bag: interrupted; {AGAIN}\n"
    assert list(tmp_path.iterdir()) == [pipe]
