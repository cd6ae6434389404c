"""Fused GPU kernels, compared with the plain layers, and the fallback to them."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from erfnet_ros.inference.parity_check import check_images
from erfnet_ros.inference.pytorch.fused_gpu import FusedNetwork, Work, fuse, plain_work
from erfnet_ros.models.checkpoint import load
from erfnet_ros.models.pipeline import Pipeline

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    # Read when Triton's own functions and the kernels are defined.
    os.environ["TRITON_INTERPRET"] = "1"
SMALL = replace(load(), input_size=(76, 56))
IMAGES = check_images()[:1, :90]


@pytest.fixture(scope="module")
def counter() -> ModuleType:
    path = Path(__file__).resolve().parents[3] / "tools" / "count_kernels.py"
    spec = spec_from_file_location("count_kernels", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["count_kernels"] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_frame_takes_few_kernels(counter: ModuleType) -> None:
    """Each launch costs a small GPU microseconds; a change that adds kernels shows here."""
    assert counter.count_frame((1024, 512), fused=True, input_size=(1024, 512)).kernels <= 95
    assert counter.count_frame((1920, 1080), fused=True).kernels <= 95


def test_labels_at_the_cameras_size_take_little_traffic(counter: ModuleType) -> None:
    """In PyTorch's own operators they move more bytes than the network."""
    assert counter.count_frame((1920, 1080), fused=True, whole=False).traffic <= 20e6
    assert counter.count_frame((1920, 1080), fused=False, whole=False).traffic > 500e6


def test_fused_network_is_the_plain_one(counter: ModuleType) -> None:
    """By the definition of cuDNN's operators: which layer is given which padding, dilation and residual."""
    network = Pipeline(SMALL).eval().network
    images = torch.rand(2, 3, 44, 60, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode(), counter.OperatorCount():
        torch.testing.assert_close(FusedNetwork(network)(images), network(images), atol=1e-4, rtol=1e-4)


def test_what_a_device_lacks_is_left_out_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "erfnet_ros.inference.pytorch.triton_kernels", raising=False)
    pipeline = Pipeline(SMALL).eval()
    plain = pipeline.network
    work, (network_note, kernel_note) = fuse(pipeline, IMAGES)
    assert pipeline.network is plain
    assert network_note.startswith("The network runs in cuDNN's plain convolutions, slower than it could: ")
    assert "cudnn_convolution_relu" in network_note
    assert "ModuleNotFoundError" in kernel_note
    assert "pip install triton" in kernel_note
    assert isinstance(work, partial)
    assert work.func is plain_work


@pytest.fixture
def operators(counter: ModuleType) -> AbstractContextManager[object]:
    """Return a context in which cuDNN's operators are there: without a GPU by their definition."""
    pytest.importorskip("triton", reason="needs Triton (pip install triton)")
    return nullcontext() if DEVICE == "cuda" else counter.OperatorCount()


def test_kernels_that_agree_are_used(operators: AbstractContextManager[object]) -> None:
    """A camera's image is reduced by blocks and bilinearly, the network pads it, and labels are enlarged."""
    with operators:
        expected = _labels(lambda *given: plain_work(Pipeline(SMALL).eval().to(DEVICE), *given))
        work, notes = fuse(Pipeline(SMALL).eval().to(DEVICE), IMAGES)
        assert notes == ()
        assert (_labels(work) == expected).mean() >= 0.99


def test_kernels_that_answer_otherwise_are_not_used(
    operators: AbstractContextManager[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    from erfnet_ros.inference.pytorch import triton_kernels

    monkeypatch.setattr(triton_kernels, "write_labels", lambda _, labels, confidences: labels.zero_())
    with operators:
        _, (note,) = fuse(Pipeline(SMALL).eval().to(DEVICE), IMAGES)
    assert "they choose the plain layers' class on" in note


def _labels(work: Work) -> np.ndarray:
    with torch.inference_mode():
        labels, confidences = torch.zeros(2, *IMAGES.shape[:3], dtype=torch.uint8, device=DEVICE)
        work(torch.from_numpy(IMAGES.copy()).to(DEVICE), labels, confidences)
    return labels.cpu().numpy()
