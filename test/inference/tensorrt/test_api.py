"""Which TensorRT is taken, how far a build is, and what the user's words mean: all that needs no TensorRT."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from erfnet_ros.core.errors import EngineError
from erfnet_ros.inference.tensorrt.api import NAMES, find_backend
from erfnet_ros.inference.tensorrt.engine import pick_gpu, pick_precision
from erfnet_ros.inference.tensorrt.progress import Shares


@pytest.fixture
def looked_for_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Hide whatever TensorRT is installed, and forget that it was found."""
    for name in NAMES:
        monkeypatch.setitem(sys.modules, name, None)
    find_backend.cache_clear()
    yield monkeypatch
    find_backend.cache_clear()


def installed(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, code: str) -> None:
    (folder / f"{name}.py").write_text(code)
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(folder)


def test_without_tensorrt_the_error_says_how_to_get_it(looked_for_anew: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match=r"needs the package 'tensorrt' 10 .*, got neither; install .*pip install"):
        find_backend()


def test_bindings_without_libraries_are_told_from_nothing(looked_for_anew: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the package index has under the name 'tensorrt' on many machines."""
    code = "raise ImportError('libnvinfer.so.11: cannot open shared object file')"
    installed(looked_for_anew, tmp_path, "tensorrt", code)
    with pytest.raises(EngineError, match=r"got 'tensorrt' cannot be loaded \(libnvinfer\.so\.11: cannot open"):
        find_backend()


def test_a_tensorrt_that_is_too_old_is_named(looked_for_anew: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed(looked_for_anew, tmp_path, "tensorrt", "__version__ = '8.6.1'")
    with pytest.raises(EngineError, match=r"got 'tensorrt' 8\.6\.1 is too old; install"):
        find_backend()


def test_precision_words_become_what_tensorrt_has() -> None:
    assert [pick_precision(word) for word in ("auto", "fp32", "int8")] == ["fp16", "fp32", "int8"]
    with pytest.raises(EngineError, match=r"\(fp16, fp32, int8\), got 'bf16'; set precision to auto"):
        pick_precision("bf16")
    with pytest.raises(EngineError, match=r"Expected precision to be one of .*, got 'half'"):
        pick_precision("half")


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
    shares = Shares()
    shares.start("all", None, 4)
    shares.step("all", 0)
    assert shares.done == 0.25
    shares.start("second", "all", 2)
    shares.step("second", 0)
    assert shares.done == 0.375
    shares.start("inner", "second", 10)
    shares.step("inner", 4)
    assert shares.done == 0.4375
    shares.finish("inner")
    shares.finish("second")
    assert shares.done == 0.4375
    shares.step("all", 1)
    assert shares.done == 0.5
    shares.finish("all")
    assert shares.done == 1.0


def test_a_phase_that_begins_again_takes_nothing_back() -> None:
    shares = Shares()
    shares.start("all", None, 2)
    shares.start("part", "all", 2)
    shares.step("part", 1)
    shares.finish("part")
    shares.start("part", "all", 5)
    shares.step("part", 0)
    assert shares.done == 0.5
