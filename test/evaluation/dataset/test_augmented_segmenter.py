"""Test-time augmentation, compared with the engine where there is one view."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import EngineError, ParameterError
from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.evaluation.dataset.augmented_segmenter import AugmentedSegmenter
from erfnet_ros.inference.engine import EngineRequest
from erfnet_ros.inference.segmenter import Segmenter
from erfnet_ros.models import checkpoint as checkpoints
from erfnet_ros.models.pipeline import Pipeline

SIZE = (96, 72)


@pytest.fixture(scope="module")
def shipped() -> checkpoints.Checkpoint:
    return checkpoints.load()


@pytest.fixture(scope="module")
def image() -> Pixels:
    return Street(seed=4, size=SIZE).frame(30)[0]


def augmented(
    checkpoint: checkpoints.Checkpoint, input_size: tuple[int, int] | None, scales: tuple[float, ...]
) -> AugmentedSegmenter:
    return AugmentedSegmenter(EngineRequest(checkpoint, "cpu", "fp32", input_size), scales)


def averaged_by_hand(checkpoint: checkpoints.Checkpoint, image: Pixels, sizes: list[tuple[int, int]]) -> torch.Tensor:
    """Mean probabilities (C, H, W) of the network itself, over inputs of whole sizes and their mirror images."""
    pipeline = Pipeline(checkpoint).eval()
    height, width = image.shape[:2]
    total = []
    for seen in (image, image[:, ::-1]):
        x = torch.from_numpy(seen.copy())[None].float().permute(0, 3, 1, 2)
        for size in sizes:
            resized = F.interpolate(x, size[::-1], mode="bilinear", align_corners=False)
            with torch.no_grad():
                logits = pipeline.network((resized - pipeline.mean) / pipeline.deviation)
            logits = F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
            probabilities = logits.softmax(1)[0]
            total.append(probabilities if seen is image else probabilities.flip(2))
    return torch.stack(total).mean(0)


def test_scales_and_mirror_images_are_averaged(shipped: checkpoints.Checkpoint, image: Pixels) -> None:
    found = augmented(shipped, SIZE, (0.75, 1, 1.25))(image)
    expected = averaged_by_hand(shipped, image, [(72, 56), SIZE, (120, 88)])
    top, winner = expected.max(0)
    assert (found.labels == winner.numpy()).mean() > 0.999
    assert np.abs(found.confidence - 255 * top.numpy()).max() <= 1
    assert found.labels.dtype == found.confidence.dtype == np.uint8


def test_a_symmetric_image_at_scale_one_gets_the_engines_answer_made_symmetric(
    shipped: checkpoints.Checkpoint, image: Pixels
) -> None:
    """Otherwise what augmentation gains or loses could be the resizing's doing."""
    half = image[:, : SIZE[0] // 2]
    symmetric = np.concatenate([half, half[:, ::-1]], axis=1)
    labels = augmented(shipped, SIZE, (1,))(symmetric).labels
    alone = Segmenter(shipped, engine="pytorch", device="cpu", precision="fp32", input_size=SIZE)(symmetric).labels
    np.testing.assert_array_equal(labels, labels[:, ::-1])
    agreed = alone == alone[:, ::-1]
    assert agreed.mean() > 0.5
    assert (labels == alone)[agreed].mean() > 0.999


def test_any_layout_of_the_image_is_taken(shipped: checkpoints.Checkpoint, image: Pixels) -> None:
    segment = augmented(shipped, (48, 32), (1,))
    bgr = np.ascontiguousarray(image[..., ::-1])
    np.testing.assert_array_equal(segment(bgr[..., ::-1]).labels, segment(image).labels)


@pytest.mark.parametrize(
    ("scales", "message"),
    [((), "got none"), ((0.0,), "scales from 0.1 to 4, got 0.0"), ((1.0, float("nan")), "got 1.0, nan")],
)
def test_scales_that_make_no_image_are_refused(
    shipped: checkpoints.Checkpoint, scales: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        augmented(shipped, None, scales)


def test_a_scale_beyond_the_largest_input_is_refused(shipped: checkpoints.Checkpoint, image: Pixels) -> None:
    with pytest.raises(ParameterError, match="8 to 4096 pixels per side, got 16000x288"):
        augmented(shipped, (4000, 72), (4,))(image)


def test_a_device_that_is_not_there_is_refused(shipped: checkpoints.Checkpoint) -> None:
    with pytest.raises(EngineError, match="cuda:77"):
        AugmentedSegmenter(EngineRequest(shipped, "cuda:77"), (1,))


def test_memory_that_runs_out_is_named_however_cudnn_words_it(
    shipped: checkpoints.Checkpoint, image: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = augmented(shipped, SIZE, (1,))

    def fail(*_: object) -> None:
        raise RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")

    monkeypatch.setattr(segment, "_segment", fail)
    with pytest.raises(EngineError, match=r"does not hold an image of 96x72 at scale 1; take smaller scales"):
        segment(image)
