"""TensorRT backends, options and build progress: all that needs no TensorRT."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from erfnet_ros.core.errors import EngineError
from erfnet_ros.inference.tensorrt.api import NAMES, find_backend
from erfnet_ros.inference.tensorrt.build import new_monitor
from erfnet_ros.inference.tensorrt.engine import pick_gpu, pick_precision


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, r"needs the package 'tensorrt' 10 .*, got neither; install .*pip install"),
        # What the package index has under the name 'tensorrt' on many machines: bindings without libraries.
        ("raise ImportError('libnvinfer.so.11: not found')", r"'tensorrt' cannot be loaded \(libnvinfer\.so\.11: not"),
        ("__version__ = '8.6.1'", r"got 'tensorrt' 8\.6\.1 is too old; install"),
    ],
)
def test_without_a_usable_tensorrt_the_error_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str | None, message: str
) -> None:
    for name in NAMES:
        monkeypatch.setitem(sys.modules, name, None)
    if code is not None:
        (tmp_path / "tensorrt.py").write_text(code)
        monkeypatch.delitem(sys.modules, "tensorrt")
        monkeypatch.syspath_prepend(tmp_path)
    # Past the cache, which other tests rely on.
    with pytest.raises(EngineError, match=message):
        find_backend.__wrapped__()


def test_precision_words_become_what_tensorrt_has() -> None:
    assert [pick_precision(word) for word in ("auto", "fp32", "int8")] == ["fp16", "fp32", "int8"]
    with pytest.raises(EngineError, match=r"\(fp16, fp32, int8\), got 'bf16'; set precision to auto"):
        pick_precision("bf16")


def test_a_device_that_tensorrt_does_not_run_on_is_refused() -> None:
    with pytest.raises(EngineError, match=r"runs on NVIDIA GPUs, got device 'cpu'; set device or engine to auto"):
        pick_gpu("cpu")
    with pytest.raises(EngineError, match=r"Expected device to be auto, cpu, .*, got 'gpu'"):
        pick_gpu("gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:3"])
def test_without_a_gpu_the_error_says_so(device: str) -> None:
    with pytest.raises(
        EngineError,
        match=rf"needs an NVIDIA GPU, .* for device '{device}', got PyTorch .* that sees no GPU; set engine",
    ):
        pick_gpu(device)


def test_phases_within_phases_are_shares_of_the_whole() -> None:
    told: list[float] = []
    monitor = new_monitor(SimpleNamespace(IProgressMonitor=object), told.append)
    monitor.phase_start("all", None, 4)
    monitor.step_complete("all", 0)
    monitor.phase_start("second", "all", 2)
    monitor.step_complete("second", 0)
    monitor.phase_start("inner", "second", 10)
    monitor.step_complete("inner", 4)
    assert told == [0.25, 0.375, 0.4375]
    for phase in ("inner", "second"):
        monitor.phase_finish(phase)
        # What a phase that begins again has done once is not taken back.
        monitor.phase_start(phase, "all", 8)
        monitor.step_complete(phase, 0)
        monitor.phase_finish(phase)
        assert told[-1] == 0.4375
    monitor.step_complete("all", 1)
    assert told[-1] == 0.5
    monitor.phase_finish("all")
    assert told[-1] == 1.0
