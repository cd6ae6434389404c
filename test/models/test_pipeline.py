"""The Pipeline's labels compared with the network's, at the camera's size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.models.checkpoint import Checkpoint, Triple, build_network
from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.models.pipeline import Pipeline, network_size


def checkpoint(size: tuple[int, int], *scaling: Triple) -> Checkpoint:
    torch.manual_seed(5)
    return Checkpoint(CAMVID, ERFNet(11).state_dict(), size, "nothing", None, "", *scaling)


def image(width: int, height: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(7).integers(0, 256, (1, height, width, 3), np.uint8))


@pytest.mark.parametrize("scaling", [(), ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))], ids=["0..1", "mean, std"])
def test_at_the_training_size_labels_and_confidence_are_the_networks_own(scaling: tuple[Triple, ...]) -> None:
    """Weights trained on normalized images would else see other numbers, and every label be worse without a word."""
    made = checkpoint((64, 48), *scaling)
    images = image(64, 48)
    mean, std = (torch.tensor(v)[:, None, None] for v in (made.mean, made.std))
    with torch.inference_mode():
        probability = build_network(made)((images.permute(0, 3, 1, 2) / 255 - mean) / std).softmax(1)
        labels, confidence = Pipeline(made).eval()(images)
    assert labels.dtype == confidence.dtype == torch.uint8
    top, winner = probability.max(1)
    sure = probability.topk(2, dim=1).values.diff(dim=1).abs()[:, 0] > 1e-4
    assert sure.float().mean() > 0.9
    assert torch.equal(labels[sure], winner[sure].to(torch.uint8))
    assert (confidence.float() - 255 * top).abs().max() <= 1


def test_a_larger_camera_gets_labels_at_its_own_size_from_upsampled_logits() -> None:
    made = checkpoint((64, 48))
    images = image(200, 150)
    with torch.inference_mode():
        small = F.interpolate(
            F.avg_pool2d(images.permute(0, 3, 1, 2).float(), 3), (48, 64), mode="bilinear", align_corners=False
        )
        logits = F.interpolate(build_network(made)(small / 255), (150, 200), mode="bilinear", align_corners=False)
        labels, confidence = Pipeline(made).eval()(images)
    assert labels.shape == confidence.shape == (1, 150, 200)
    assert (labels == logits.argmax(1)).float().mean() > 0.995


@given(st.integers(8, 4096), st.integers(8, 4096))
def test_the_network_sees_about_as_many_pixels_as_in_training_at_the_cameras_aspect(width: int, height: int) -> None:
    """A network trained on small images fails on large ones, and is slow on them."""
    wide, high = network_size((width, height), (480, 360), None)
    assert (width, height) == (480, 360) or (wide % 8 == 0 and high % 8 == 0)
    if 1 / 4 <= width / height <= 4:
        assert wide * high == pytest.approx(480 * 360, rel=0.05)
        assert wide / high == pytest.approx(width / height, rel=0.05)


def test_a_size_that_the_user_asked_for_is_taken_as_it_is() -> None:
    assert network_size((1920, 1080), (480, 360), (640, 352)) == (640, 352)
