"""Automatic engine selection, and fallback when an engine fails while it runs."""

from __future__ import annotations

import gc
import importlib.util
import logging
import re
import weakref
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import torch

from erfnet_ros.core.errors import DeviceError, EngineError
from erfnet_ros.inference import auto_select, device, onnxruntime
from erfnet_ros.inference.auto_select import machine_key, open_fastest
from erfnet_ros.inference.engine import Engine, EngineRequest
from erfnet_ros.inference.factory import engine_type, open_engine
from erfnet_ros.inference.fallback import FallbackEngine
from erfnet_ros.inference.openvino import OpenVinoEngine
from erfnet_ros.inference.pytorch import cuda
from erfnet_ros.inference.pytorch import engine as pytorch_module
from erfnet_ros.inference.pytorch.engine import PyTorchEngine
from erfnet_ros.inference.tensorrt.api import NAMES
from erfnet_ros.models.checkpoint import Checkpoint, load

CPU = torch.device("cpu")
SIZE = (96, 64)
IMAGE = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return replace(load(), input_size=SIZE)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERFNET_ROS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def pytorch(checkpoint: Checkpoint) -> PyTorchEngine:
    return PyTorchEngine(EngineRequest(checkpoint, "cpu", "fp32"))


def open_named(engine: PyTorchEngine, names: Sequence[str], *broken: str, precision: str = "fp32") -> Engine:
    """Open the fastest of PyTorch under several names, of which some do not open."""

    def open_one(name: str) -> Engine:
        if name in broken:
            raise EngineError(f"{name} needs what this machine lacks.")
        named = copy(engine)
        named.name = name
        return named

    return open_fastest({name: partial(open_one, name) for name in names}, {"precision": precision}, SIZE)


def test_the_fastest_engine_is_taken_and_remembered(
    pytorch: PyTorchEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "erfnet_ros")
    names = ("tortoise", "hare")
    times = {"tortoise": 90.0, "hare": 30.0}
    monkeypatch.setattr(auto_select, "_median_ms", lambda engine, _: times[engine.name])
    first = open_named(pytorch, names)
    assert first.name == "hare"
    assert caplog.messages == [
        "Engine hare is the fastest here: tortoise 90.0 ms, hare 30.0 ms per image, measured at first start."
    ]
    # The second start opens one engine only, and measures nothing.
    times.clear()
    again = open_named(pytorch, names, "tortoise")
    assert again.name == "hare"


@pytest.mark.parametrize("remembered", [True, False])
def test_an_engine_that_does_not_open_is_left_out_with_the_reason(
    pytorch: PyTorchEngine, monkeypatch: pytest.MonkeyPatch, remembered: bool
) -> None:
    monkeypatch.setattr(auto_select, "_median_ms", lambda engine, _: len(engine.name))
    if remembered:
        assert open_named(pytorch, ("ab", "abc")).name == "ab"
    engine = open_named(pytorch, ("ab", "abc"), "ab")
    assert engine.name == "abc"
    assert engine.notes[-1] == "Engine ab is left out: ab needs what this machine lacks."
    # TensorRT has no bf16: that it was left out there must not keep it out in fp16.
    assert open_named(pytorch, ("ab", "abc"), precision="fp16").name == "ab"


def test_with_no_engine_at_all_every_reason_is_told(pytorch: PyTorchEngine) -> None:
    with pytest.raises(EngineError, match=r"one needs what this machine lacks\. two needs"):
        open_named(pytorch, ("one", "two"), "one", "two")


def test_only_what_can_win_is_tried(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """A robot must not wait for graphs of engines that are known to be slower."""

    def is_tried(name: str, precision: str, where: torch.device = CPU) -> bool:
        return engine_type(name).is_candidate(EngineRequest(checkpoint, precision=precision), where)

    monkeypatch.setattr(device, "has_bf16_units", lambda: True)
    monkeypatch.setattr(device.platform, "machine", lambda: "x86_64")
    assert not is_tried("onnxruntime", "bf16")
    assert not is_tried("onnxruntime", "fp32")
    monkeypatch.setattr(device.platform, "machine", lambda: "aarch64")
    assert is_tried("onnxruntime", "fp32") == (importlib.util.find_spec("onnxruntime") is not None)
    assert not is_tried("onnxruntime", "bf16")
    assert is_tried("openvino", "auto") == (importlib.util.find_spec("openvino") is not None)
    assert not is_tried("openvino", "auto", torch.device("cuda", 0))
    assert not is_tried("tensorrt", "auto")
    assert is_tried("tensorrt", "auto", torch.device("cuda", 0)) == any(map(importlib.util.find_spec, NAMES))


def test_engines_are_timed_against_each_other(
    checkpoint: Checkpoint, pytorch: PyTorchEngine, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed: pip install onnxruntime")
    caplog.set_level(logging.INFO, "erfnet_ros")
    # apt brings TensorRT, which pip does not know.
    key = machine_key(CPU, ("torch", "no-such-distribution"))
    assert re.fullmatch(r"torch \S+,no-such-distribution None", str(key["versions"]))
    request, names = EngineRequest(checkpoint, "cpu", "fp32"), ("onnxruntime", "pytorch")
    engine = open_fastest({name: partial(open_engine, request, name) for name in names}, key, SIZE)
    expected = rf"Engine {engine.name} is the fastest here: onnxruntime [\d.]+ ms, pytorch [\d.]+ ms"
    assert re.search(expected, caplog.text)
    assert (engine(IMAGE)[0] == pytorch(IMAGE)[0]).mean() >= 0.995


class FailingGpu:
    """What an engine looks like whose GPU fails at the third frame: no GPU is at hand to fail for real."""

    name, device, precision = "tensorrt", "cuda:0", "fp16"

    def __init__(self, frames: int = 2, at_once: int = 1) -> None:
        self.notes: tuple[str, ...] = ("as it was built",)
        self.frames, self.at_once = frames, at_once
        self.closed = False

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if len(images) > self.at_once:
            raise DeviceError(f"The memory of cuda:0 does not hold {len(images)} image(s).")
        if not self.frames:
            raise DeviceError("The GPU cuda:0 failed, or is gone.")
        self.frames -= 1
        return images[..., 0], images[..., 1]

    def close(self) -> None:
        self.closed = True
        raise EngineError("The GPU cuda:0 is gone.")


def broken() -> Engine:
    raise EngineError("PyTorch has no kernel for cuda:0.")


def test_frames_go_on_when_the_gpu_fails(pytorch: PyTorchEngine) -> None:
    failing = FailingGpu()
    engine = FallbackEngine(failing, [lambda: copy(pytorch)])
    assert (engine.name, engine.device, engine.precision) == ("tensorrt", "cuda:0", "fp16")
    assert engine.failure == ""
    answers = [engine(IMAGE) for _ in range(5)]
    assert np.array_equal(answers[1][0], IMAGE[..., 0])
    expected, _ = pytorch(IMAGE)
    # The frame that failed is answered, too.
    assert all(np.array_equal(labels, expected) for labels, _ in answers[2:])
    assert (engine.name, engine.device, engine.precision) == ("pytorch", "cpu", "fp32")
    assert engine.notes[-2] == "as it was built"
    assert "tensorrt on cuda:0 failed, so pytorch on cpu takes over" in engine.notes[-1]
    assert engine.failure == engine.notes[-1]
    assert len(engine.notes) == 2 + len(pytorch.notes), "said once, not per frame"
    # PyTorch for CUDA cannot tell that there never was such a GPU; see the test of one that is gone.
    assert failing.closed == (torch.version.cuda is None or torch.cuda.is_available())
    engine.close()


def test_the_next_engine_that_opens_goes_on(pytorch: PyTorchEngine) -> None:
    """TensorRT that fails leaves a GPU on which PyTorch may well run; where it does not, the CPU goes on."""
    other = FailingGpu(frames=1)
    other.name = "pytorch"
    engine = FallbackEngine(FailingGpu(frames=1), [lambda: other, broken, lambda: copy(pytorch)])
    assert np.array_equal(engine(IMAGE)[0], engine(IMAGE)[0])
    assert (engine.name, engine.device) == ("pytorch", "cuda:0")
    assert np.array_equal(engine(IMAGE)[0], pytorch(IMAGE)[0])
    assert engine.device == "cpu"
    assert "is gone. PyTorch has no kernel for cuda:0." in engine.notes[-1]


def test_images_that_fail_together_run_alone(pytorch: PyTorchEngine) -> None:
    """Several cameras on a small GPU must not end on the CPU for want of memory for all of them at once."""
    failing = FailingGpu(frames=9)
    engine = FallbackEngine(failing, [lambda: copy(pytorch)])
    together = np.concatenate([IMAGE, IMAGE[:, ::-1], IMAGE[:, :, ::-1]])
    for _ in range(3):
        labels, confidences = engine(together)
        assert np.array_equal(labels, together[..., 0])
        assert np.array_equal(confidences, together[..., 1])
    assert engine.device == "cuda:0"
    assert engine.notes[1:] == (
        "3 images of 96x64 run one after the other; together they failed: The memory of cuda:0 does not hold 3 "
        "image(s).",
    )
    # A GPU that fails at a single one is another matter.
    assert np.array_equal(engine(together)[0], pytorch(together)[0])
    assert engine.device == "cpu"


def test_notes_that_an_engine_adds_later_are_passed_on() -> None:
    """A TensorRT engine for another size is built in mid-stream, and may have something to say."""
    failing = FailingGpu()
    engine = FallbackEngine(failing, [FailingGpu])
    engine(IMAGE)
    failing.notes = ("as it was built", "the cache folder is full")
    engine(IMAGE)
    assert engine.notes == failing.notes


def test_a_fallback_that_fails_as_well_is_an_error() -> None:
    engine = FallbackEngine(FailingGpu(), [FailingGpu])
    for _ in range(4):
        engine(IMAGE)
    with pytest.raises(EngineError, match="is gone"):
        engine(IMAGE)


def test_an_engine_on_a_gpu_that_is_gone_is_never_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Freeing pinned memory of a GPU that is gone ends the process, and with it the masks that the CPU goes on with."""
    monkeypatch.setattr(cuda, "_answers", lambda _: False)
    failing = FailingGpu()
    gone = weakref.ref(failing)
    cuda.close_safely(failing)
    assert not failing.closed
    del failing
    gc.collect()
    assert gone() is not None


def test_a_gpu_that_fails_at_the_start_leaves_the_cpu(
    checkpoint: Checkpoint, pytorch: PyTorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may have taken the GPU's memory; whoever named no device wants masks all the same."""

    def full(*_: object) -> None:
        raise DeviceError("The memory of cuda:0 does not hold the network.")

    monkeypatch.setattr(
        pytorch_module, "pick_device", lambda device: CPU if device == "cpu" else torch.device("cuda", 0)
    )
    monkeypatch.setattr(PyTorchEngine, "_on_gpu", full)
    monkeypatch.setattr(OpenVinoEngine, "is_candidate", lambda *_: False)
    for name in ("auto", "pytorch"):
        engine = open_engine(EngineRequest(checkpoint), name)
        assert engine.device == "cpu"
        assert engine.notes[-1].startswith("The GPU is not used, which is slower. The memory of cuda:0 does not")
        assert isinstance(engine, FallbackEngine)
        assert engine.failure == engine.notes[-1]
        assert engine(IMAGE)[0].shape == pytorch(IMAGE)[0].shape
    with pytest.raises(DeviceError):
        open_engine(EngineRequest(checkpoint, "cuda:0"), "pytorch")
    # What the user got wrong stays an error.
    with pytest.raises(EngineError, match="set auto or fp16, or engine to tensorrt"):
        open_engine(EngineRequest(checkpoint, precision="int8"), "pytorch")


def test_an_engine_that_fails_while_it_is_timed_is_left_out(
    pytorch: PyTorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def median_ms(engine: Engine, _: object) -> float:
        if engine.name == "ab":
            raise DeviceError("The memory of cuda:0 does not hold 1 image(s).")
        return 1.0

    monkeypatch.setattr(auto_select, "_median_ms", median_ms)
    engine = open_named(pytorch, ("ab", "abc"))
    assert engine.name == "abc"
    assert engine.notes[-1] == "Engine ab is left out: The memory of cuda:0 does not hold 1 image(s)."
    # Memory that was taken at one start is no reason at the next.
    monkeypatch.setattr(auto_select, "_median_ms", lambda engine, _: len(engine.name))
    assert open_named(pytorch, ("ab", "abc")).name == "ab"


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried ..."), "does not hold 2 images; set a smaller"),
        (RuntimeError("CUDA error: out of memory\nCompile with"), "does not hold 2 images; set a smaller"),
        (RuntimeError("NVML_SUCCESS == r INTERNAL ASSERT FAILED at Allocator.cpp"), "does not hold 2 images"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "does not hold 2 images"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "does not hold"),
        (RuntimeError("GET was unable to find an engine to execute this computation"), "does not hold 2 images"),
        (RuntimeError("CUDA error: unspecified launch failure\nCompile with"), "is gone: CUDA error: unspecified"),
    ],
)
def test_what_a_gpu_raises_says_what_to_do(fault: Exception, text: str) -> None:
    with pytest.raises(DeviceError, match=text), cuda.faults(torch.device("cuda", 0), "2 images"):
        raise fault


@pytest.mark.parametrize("function", ["_load", "__call__", "is_candidate"])
def test_whatever_an_optional_engine_raises_leaves_it_out(
    checkpoint: Checkpoint, function: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another version of its packages may raise anything: the node must still configure, with PyTorch."""
    if function != "is_candidate" and "dynamic_shapes" not in signature(torch.onnx.export).parameters:
        pytest.skip("this PyTorch writes no graph that ONNX Runtime could load")
    caplog.set_level(logging.DEBUG, "erfnet_ros")

    def fail(*_: object, **__: object) -> None:
        raise TypeError("run() got an unexpected keyword argument 'dynamic_shapes'")

    monkeypatch.setattr(onnxruntime.OnnxRuntimeEngine, "is_candidate", lambda *_: True)
    monkeypatch.setattr(onnxruntime.OnnxRuntimeEngine, function, fail)
    request = EngineRequest(checkpoint, "cpu", "fp32")
    engine = open_engine(request)
    assert engine.name == "pytorch"
    assert any(
        "onnxruntime is left out: " in note and "unexpected keyword argument 'dynamic_shapes'" in note
        for note in engine.notes
    )
    assert any(record.exc_info for record in caplog.records if record.levelno == logging.DEBUG)
    if function == "_load":
        with pytest.raises(EngineError, match=r"TypeError.*dynamic_shapes.*set engine to pytorch"):
            open_engine(request, "onnxruntime")


@pytest.mark.skipif(torch.cuda.is_available(), reason="PyTorch sees a GPU")
def test_a_gpu_that_pytorch_does_not_see_is_noted_with_the_remedy(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a Jetson pip brings a build of PyTorch for CPUs: without a note a robot is slow for no visible reason."""
    monkeypatch.setattr(device, "nvidia_driver", lambda: None)
    monkeypatch.setattr(device, "_JETSON", tmp_path / "nv_tegra_release")
    request = EngineRequest(checkpoint, precision="fp32")
    assert not any("NVIDIA" in note for note in open_engine(request, "pytorch").notes)
    (tmp_path / "nv_tegra_release").touch()
    note = open_engine(request, "pytorch").notes[-1]
    assert "sees no GPU; on a Jetson, 'pip install torch' brings a build for CPUs: install NVIDIA's PyTorch" in note
    assert open_engine(replace(request, device="cpu"), "pytorch").notes[-1:] != (note,)
    (tmp_path / "nv_tegra_release").unlink()
    monkeypatch.setattr(device, "nvidia_driver", lambda: "NVRM version: 550")
    assert "sees no GPU; " in open_engine(request, "pytorch").notes[-1]
