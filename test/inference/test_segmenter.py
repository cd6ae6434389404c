"""Segmenter: an RGB array in, labels and confidence out."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from erfnet_ros.core.errors import CheckpointError, EngineError, ImageError, ParameterError
from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.evaluation.metrics.confusion_matrix import confusion_matrix, mean_iou
from erfnet_ros.inference.segmenter import Segmentation, Segmenter, StageTimes
from erfnet_ros.models import checkpoint

RGB = np.random.default_rng(2).integers(0, 256, (90, 120, 3), np.uint8)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(device="cpu")


@pytest.mark.parametrize("size", [(8, 8), (97, 61), (480, 360), (640, 480)])
def test_labels_and_confidence_have_the_images_size(segmenter: Segmenter, size: tuple[int, int]) -> None:
    result = segmenter(np.zeros((size[1], size[0], 3), np.uint8))
    assert result.labels.shape == result.confidence.shape == (size[1], size[0])
    assert result.labels.dtype == result.confidence.dtype == np.uint8
    assert result.labels.max() < 11
    assert result.times.inference_ms > 0


def test_strides_of_the_image_do_not_matter(segmenter: Segmenter) -> None:
    """A BGR view or a cropped image is not contiguous."""
    flipped = np.ascontiguousarray(RGB[..., ::-1])[..., ::-1]
    padded = np.zeros((90, 160, 3), np.uint8)
    padded[:, :120] = RGB
    expected = segmenter(RGB).labels
    assert np.array_equal(segmenter(flipped).labels, expected)
    assert np.array_equal(segmenter(padded[:, :120]).labels, expected)


def test_the_same_image_gives_the_same_labels_again_and_none_are_overwritten(segmenter: Segmenter) -> None:
    first = segmenter(RGB)
    segmenter(255 - RGB)
    segmenter(np.zeros((64, 64, 3), np.uint8))
    again = segmenter(RGB)
    assert np.array_equal(first.labels, again.labels)
    assert np.array_equal(first.confidence, again.confidence)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda labels, confidences: (labels + np.uint8(11), confidences), "labels below 11 and .* got 11 and 255"),
        (lambda labels, confidences: (labels, confidences * np.uint8(0)), "confidences above 0 .* got 0 and 0"),
        (lambda labels, confidences: (labels[:, 1:], confidences), r"\(1, 90, 120\) uint8 .* got \(1, 89, 120\) uint8"),
        (lambda labels, confidences: (labels, confidences.astype(np.float32)), r"got \(1, 90, 120\) float32"),
        (lambda labels, confidences: (labels[:0], confidences[:0]), r"got \(0, 90, 120\) uint8"),
    ],
    ids=["unknown labels", "not a number", "size", "type", "nothing"],
)
def test_an_answer_that_cannot_be_one_is_refused(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, broken: Callable[..., Any], reason: str
) -> None:
    """A device whose memory is damaged answers as well, and a robot would drive by it."""
    right = segmenter(RGB)
    answer = np.zeros_like(right.labels)[None], np.full_like(right.confidence, 255)[None]
    monkeypatch.setattr(type(segmenter.engine), "__call__", lambda engine, images: broken(*answer))
    with pytest.raises(EngineError, match=f"{reason}.*set engine to pytorch"):
        segmenter(RGB)


def test_the_shipped_weights_segment_a_street(segmenter: Segmenter) -> None:
    """A wrong channel order, scale or class order would still publish something that looks like a mask."""
    street = Street(seed=77)
    matrix, swapped = np.zeros((2, 11, 12), np.int64)
    for index in range(0, 90, 9):
        rgb, ground_truth = street.frame(index)
        matrix += confusion_matrix(ground_truth, segmenter(rgb).labels, 11)
        swapped += confusion_matrix(ground_truth, segmenter(rgb[..., ::-1]).labels, 11)
    assert (mean_iou(matrix) or 0) > 0.35
    # Training varies light and saturation, so that swapped channels cost little; what they cost is never a gain.
    assert (mean_iou(swapped) or 0) < (mean_iou(matrix) or 0) - 0.01


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (np.zeros((90, 120), np.uint8), r"\(90, 120\)"),
        (np.zeros((90, 120, 4), np.uint8), r"\(90, 120, 4\)"),
        (np.zeros((90, 120, 3), np.float32), "float32"),
        (np.zeros((0, 0, 3), np.uint8), "0x0"),
        (np.zeros((1, 1, 3), np.uint8), "1x1"),
    ],
)
def test_what_is_no_image_is_refused_with_its_shape(segmenter: Segmenter, image: np.ndarray, text: str) -> None:
    with pytest.raises(ImageError, match=text):
        segmenter(image)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"engine": "fastest"}, EngineError, "got 'fastest'"),
        ({"device": "tpu"}, EngineError, "got 'tpu'"),
        ({"precision": "int4"}, EngineError, "got 'int4'"),
        ({"device": "cpu", "precision": "fp16"}, EngineError, "'fp16' was asked for on a CPU"),
        ({"input_size": (0, 0)}, ParameterError, "0x0"),
        ({"device": "cuda:99"}, EngineError, "'cuda:99' was asked for, .*; set device to auto or cpu"),
    ],
)
def test_options_that_cannot_be_met_are_refused_with_their_value(
    options: dict[str, object], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        Segmenter(**options)  # type: ignore[arg-type]


@given(
    hnp.arrays(np.uint8, (6, 5), elements=st.integers(0, 10)), hnp.arrays(np.uint8, (6, 5)), st.floats(0, 1, width=16)
)
def test_the_mask_is_void_exactly_where_confidence_is_below_the_threshold(
    labels: np.ndarray, confidence: np.ndarray, threshold: float
) -> None:
    mask = Segmentation(labels, confidence, StageTimes(0, 0)).mask(threshold)
    assert np.array_equal(mask, np.where(confidence / 255 < threshold, 255, labels))


@pytest.mark.parametrize("absurd", [{"weight": 3e38, "bias": 3e38}, {"running_var": -1.0}], ids=["3e38", "variance"])
def test_weights_that_compute_no_scores_are_refused(absurd: dict[str, float]) -> None:
    """They would publish class 0 everywhere, with confidence 0."""
    good = checkpoint.load()
    tensors = {
        name: torch.full_like(tensor, absurd[last]) if (last := name.rpartition(".")[2]) in absurd else tensor
        for name, tensor in good.state_dict.items()
    }
    with pytest.raises(CheckpointError, match="finite class scores, got NaN or infinity for a gray image"):
        Segmenter(replace(good, state_dict=tensors), device="cpu")


def test_a_batch_answers_as_its_images_do_alone(segmenter: Segmenter) -> None:
    """Several cameras share one run of the network; none may see another's labels."""
    other = 255 - RGB
    first, second = segmenter.batch([RGB, other])
    # The sums of a batch may be taken in another order.
    assert (first.labels == segmenter(RGB).labels).mean() > 0.99
    assert (second.labels == segmenter(other).labels).mean() > 0.99
    assert (first.labels != second.labels).any()


def test_images_of_several_sizes_are_no_batch(segmenter: Segmenter) -> None:
    with pytest.raises(ImageError, match="one size in a batch, got 120x90, 60x90"):
        segmenter.batch([RGB, RGB[:, :60]])


def test_what_an_engine_notes_in_mid_stream_is_logged_once(
    segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A GPU that failed shows as a slow robot; the log must say why, and not thirty times a second."""
    image = np.zeros((96, 128, 3), np.uint8)
    segmenter(image)
    monkeypatch.setattr(segmenter.engine, "notes", (*segmenter.engine.notes, "The GPU failed."))
    with caplog.at_level(logging.INFO, "erfnet_ros"):
        segmenter(image)
        segmenter(image)
    assert [(record.levelname, record.message) for record in caplog.records] == [("WARNING", "The GPU failed.")]


def test_an_engine_needs_no_data_sets(tmp_path: Path) -> None:
    """A robot's node must not load the street renderer to choose or to check an engine."""
    program = (
        "import sys; from erfnet_ros import Segmenter; from erfnet_ros.inference import auto_select\n"
        "Segmenter(device='cpu', precision='fp32')\n"
        "print(*(name for name in sys.modules if name.startswith('erfnet_ros.data')))"
    )
    environment = {**os.environ, "ERFNET_ROS_CACHE": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
