"""Validation of a network during training."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("lightning", reason="needs Lightning (the extra 'training')")

import torch
from support.small_datasets import SIZE, make_camvid

from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.config_schema import build
from erfnet_ros.data.datasets import open_dataset
from erfnet_ros.evaluation.metrics.confusion_matrix import confusion_matrix
from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.training.config.recipe import Recipe
from erfnet_ros.training.config.schedule import Plan, plans
from erfnet_ros.training.data.frame_store import DiskFrames, FrameOptions, TrainingFrames, open_frames
from erfnet_ros.training.loop import validation
from erfnet_ros.training.loop.validation import count_pixels, predict, with_void_column

CPU = torch.device("cpu")


def planned(part: str = "network") -> Plan:
    # Whatever comes first, a recipe ends with the whole network.
    stages = [{"name": name, "part": name, "phases": [{"steps": 1}]} for name in dict.fromkeys((part, "network"))]
    return plans(build(Recipe, {"stages": stages}, "test"), frames=5)[0]


@pytest.fixture(scope="module", params=["memory", "disk"])
def frames(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TrainingFrames:
    data = open_dataset("camvid", make_camvid(tmp_path_factory.mktemp("camvid"), {"val": 5}), "val")
    return open_frames(data, SIZE, FrameOptions(CPU, place=request.param), sample_pixels=False)


def network() -> ERFNet:
    torch.manual_seed(0)
    return ERFNet(len(CAMVID))


def test_pixels_are_counted_by_true_and_answered_class(frames: TrainingFrames) -> None:
    found = with_void_column(count_pixels(network(), planned(), frames, numbers=(0, 3)))
    expected = np.zeros_like(found)
    for number in (0, 3):
        image, labels = frames.pixels(number)
        expected += confusion_matrix(labels, predict(network(), planned(), image), len(CAMVID))
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("part", ["encoder", "network"])
def test_frames_that_are_answered_together_count_as_one_by_one(
    frames: TrainingFrames, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, which a single small frame does not keep busy."""
    alone = count_pixels(network(), planned(part), frames, numbers=range(5))
    monkeypatch.setattr(validation, "_frames_at_once", lambda *_: 2)
    together = count_pixels(network(), planned(part), frames, numbers=range(5))
    assert together.sum(1).tolist() == alone.sum(1).tolist()
    # Sums of another order may turn a tie.
    assert int((together - alone).abs().sum()) <= 8


def test_only_a_gpu_answers_many_frames_at_once_and_only_frames_of_one_size(frames: TrainingFrames) -> None:
    gpu = torch.device("cuda")
    assert validation._frames_at_once(frames, CPU) == 1
    assert validation._frames_at_once(frames, gpu) == 2**22 // (SIZE[0] * SIZE[1])
    if isinstance(frames, DiskFrames):
        for size in (None, (8192, 4096)):
            assert validation._frames_at_once(DiskFrames(frames.data, size, frames.options), gpu) == 1
