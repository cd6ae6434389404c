"""CUDA graphs: when a GPU's work is captured. Without a GPU, a stand-in runs the work on the CPU."""

from __future__ import annotations

from contextlib import nullcontext
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from torch import Tensor

from erfnet_ros.inference.pytorch.cuda import LOADING_LOCK, GpuFrames


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    zeros = torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda size, pin_memory=False, **options: zeros(size, **options))
    for name in ("Stream", "current_stream", "CUDAGraph"):
        monkeypatch.setattr(torch.cuda, name, MagicMock())
    for name in ("device", "stream"):
        monkeypatch.setattr(torch.cuda, name, nullcontext)
    monkeypatch.setattr(torch.cuda, "graph", lambda *_, **__: nullcontext())
    return torch.device("cpu")


def test_nothing_is_captured_while_another_thread_loads_an_engine(device: torch.device) -> None:
    """TensorRT synchronizes the GPU while it compiles, which breaks a capture; frames must not wait for it either."""
    images = np.random.default_rng(1).integers(0, 256, (1, 48, 64, 3), np.uint8)

    def work(pixels: Tensor, labels: Tensor, confidences: Tensor) -> None:
        labels.copy_(pixels[..., 0])
        confidences.copy_(pixels[..., 1])

    frames = GpuFrames((1, 48, 64), device)
    captured = []
    with LOADING_LOCK:
        frames.begin(work)
        frames(images)
        captured.append(frames._graph is not None)
    for _ in range(2):
        labels, confidences = frames(images)
        np.testing.assert_array_equal(labels, images[..., 0])
        np.testing.assert_array_equal(confidences, images[..., 1])
        captured.append(frames._graph is not None)
    assert captured == [False, True, True]
    assert not LOADING_LOCK.locked()
