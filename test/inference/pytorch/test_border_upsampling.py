"""Border upsampling compared with plain upsampling of every class's scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from erfnet_ros.inference.pytorch.border_upsampling import axis, upsample_labels
from erfnet_ros.models.pipeline import answers, upsample

CLASSES = 11


def blobs(width: int, height: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return logits (1, C, height, width) of regions as large as a network's, with a few per cent of borders."""
    coarse = 8 * torch.randn(1, CLASSES, 3, 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True).to(dtype)


def in_fours(logits: Tensor) -> Tensor:
    """Return (C, 2, 2, h / 2, w / 2) of (1, C, h, w), as the network's last layer leaves them."""
    classes, height, width = logits.shape[1:]
    return logits.view(classes, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3).contiguous()


def plainly(logits: Tensor, camera: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    labels, confidence = answers(upsample(logits.float(), (camera[1], camera[0])))
    return labels[0].numpy(), confidence[0].numpy()


def assert_labels(labels: np.ndarray, logits: Tensor, camera: tuple[int, int]) -> None:
    """Two classes equal to a float's last bits may change places; nothing else may, at the edges neither."""
    first, second = upsample(logits.float(), (camera[1], camera[0])).topk(2, 1).values[0].numpy()
    clear = first - second > 1e-4
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(labels[clear], plainly(logits, camera)[0][clear])


@pytest.mark.parametrize("camera", [(96, 64), (97, 64), (128, 80), (333, 251), (960, 640)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_labels_are_those_of_the_plain_way(camera: tuple[int, int], dtype: torch.dtype) -> None:
    logits = blobs(96, 64, dtype=dtype)
    labels, confidence = upsample_labels(in_fours(logits), (96, 64), camera)
    _, expected_confidence = plainly(logits, camera)
    assert labels.shape == confidence.shape == (camera[1], camera[0])
    assert_labels(labels, logits, camera)
    assert np.abs(confidence.astype(int) - expected_confidence).mean() < 1.5


NOISE = torch.randn(1, CLASSES, 64, 96, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("logits", "camera"),
    [*((blobs(96, 64), camera) for camera in ((50, 40), (96, 40), (40, 200))), (NOISE, (200, 150))],
)
def test_a_small_camera_and_noise_with_a_border_at_every_pixel_are_served(
    logits: Tensor, camera: tuple[int, int]
) -> None:
    labels, confidence = upsample_labels(in_fours(logits), (96, 64), camera)
    _, expected_confidence = plainly(logits, camera)
    assert_labels(labels, logits, camera)
    assert (confidence == expected_confidence).mean() > 0.999


def test_what_was_padded_for_the_network_is_left_out() -> None:
    logits = blobs(96, 64)
    labels, _ = upsample_labels(in_fours(logits), (91, 61), (91, 61))
    assert np.array_equal(labels, logits.argmax(1)[0, :61, :91].numpy())
    large, _ = upsample_labels(in_fours(logits), (91, 61), (182, 122))
    assert_labels(large, logits[..., :61, :91], (182, 122))


@pytest.mark.parametrize("classes", [1, 2, 16, 17, 200])
def test_any_number_of_classes_is_told_apart(classes: int) -> None:
    """The class's number lies in the low bits of its score: too few would mix up classes."""
    logits = torch.full((1, classes, 8, 8), -1.0)
    winners = torch.arange(64).view(8, 8) % classes
    logits.scatter_(1, winners[None, None], 2.0)
    labels, confidence = upsample_labels(in_fours(logits), (8, 8), (8, 8))
    assert np.array_equal(labels, winners.numpy())
    assert np.array_equal(confidence, plainly(logits, (8, 8))[1])


@settings(max_examples=50)
@given(small=st.integers(1, 40), more=st.integers(0, 200))
def test_an_axis_lies_where_pytorch_puts_it(small: int, more: int) -> None:
    large = small + more
    there = axis(small, large)
    ramp = torch.arange(small, dtype=torch.float32)
    expected = F.interpolate(ramp[None, None], large, mode="linear", align_corners=False)[0, 0]
    found = torch.full((large,), torch.nan)
    for index, (positions, weights) in enumerate(zip(there.positions, there.weights, strict=True)):
        after = min(index + 1, small - 1)
        for position, weight in zip(positions.tolist(), weights.tolist(), strict=True):
            if torch.isclose(expected[position], torch.tensor(index + weight * (after - index)), atol=1e-4):
                found[position] = expected[position]
    assert not found.isnan().any()
