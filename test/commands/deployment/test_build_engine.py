"""`erfnet build-engine`: two users at once, and its options."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install tensorrt-rtx")

import torch

from erfnet_ros.commands.deployment.build_engine import main
from erfnet_ros.core.errors import ParameterError
from erfnet_ros.models import checkpoint as checkpoints


def test_two_processes_that_want_the_same_engine_build_one(tmp_path: Path) -> None:
    file = tmp_path / "small.safetensors"
    checkpoints.save(replace(checkpoints.load(), input_size=(64, 48)), file)
    command = [sys.executable, "-m", "erfnet_ros.commands", "build-engine", "--checkpoint", str(file)]
    environment = {**os.environ, "ERFNET_ROS_CACHE": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    pair = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert sorted("found in the cache" in text for text in said) == [False, True]
    assert sorted("built in" in text for text in said) == [False, True]
    (engine,) = (tmp_path / "cache").glob("tensorrt-????????????????.engine")
    assert all(text.startswith(f"{engine} (") for text in said)
    assert all("images of 64x48, fp16" in text for text in said)
    if not torch.cuda.is_available():
        assert all("not yet run: this machine has no GPU" in text for text in said)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--size", "640"], r"Expected --size WIDTHxHEIGHT .* got '640'"),
        (["--batch", "0"], r"Expected --batch from 1 to 64, got 0"),
        (["--workspace", "0"], r"Expected --workspace of 1 MiB or more, got 0"),
        (["--input-size", "x"], r"Expected input_size to be auto or .* got 'x'"),
    ],
)
def test_options_out_of_range_are_refused(options: list[str], error: str) -> None:
    with pytest.raises(ParameterError, match=error):
        main(options)
