"""Evaluation protocols: the paper's resizing compared with the authors' script, and none by default."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.data.frame_sources import Frame
from erfnet_ros.evaluation.dataset.protocol import open_protocol, paper_size


def frame(width: int, height: int, with_ground_truth: bool = True) -> Frame:
    rng = np.random.default_rng(width)
    ground_truth = rng.integers(0, 19, (height, width), np.uint8) if with_ground_truth else None
    return Frame("frame", rng.integers(0, 256, (height, width, 3), np.uint8), ground_truth)


def test_by_default_a_frame_stays_as_it_is() -> None:
    first = frame(96, 64)
    protocol = open_protocol("full", first, (48, 32))
    assert protocol(first) is first
    assert protocol(frame(20, 30)).rgb.shape == (30, 20, 3)
    assert protocol.input_size == (48, 32)


@pytest.mark.parametrize(
    ("size", "scored", "seen"),
    [
        ((2048, 1024), (1024, 512), (1024, 512)),
        ((1920, 1080), (910, 512), (912, 512)),
        ((480, 360), (480, 360), (480, 360)),
        ((500, 375), (500, 375), (496, 376)),
    ],
)
def test_the_papers_sizes(size: tuple[int, int], scored: tuple[int, int], seen: tuple[int, int]) -> None:
    """1024 x 512 for Cityscapes, as in the paper; what is smaller is not enlarged, which would add nothing."""
    protocol = open_protocol("paper", frame(*size), None)
    assert (protocol.scored_size, protocol.input_size) == (scored, seen)
    prepared = protocol(frame(*size))
    assert prepared.rgb.shape == (scored[1], scored[0], 3)
    assert prepared.ground_truth is not None
    assert prepared.ground_truth.shape == (scored[1], scored[0])
    assert paper_size(scored) == scored


def test_labels_are_picked_as_pillow_picks_them_and_images_averaged() -> None:
    """The authors resize with Pillow: another pixel of each block would be another figure."""
    full = frame(2048, 1024)
    assert full.ground_truth is not None
    prepared = open_protocol("paper", full, None)(full)
    expected = Image.fromarray(full.ground_truth).resize((1024, 512), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(prepared.ground_truth, np.asarray(expected))
    blocks = full.rgb.reshape(512, 2, 1024, 2, 3).mean(axis=(1, 3))
    assert np.abs(prepared.rgb - blocks).max() <= 0.5


def test_a_frame_without_ground_truth_is_resized_alone() -> None:
    full = frame(2048, 1024, with_ground_truth=False)
    assert open_protocol("paper", full, None)(full).ground_truth is None


def test_what_the_user_asks_the_network_to_see_wins() -> None:
    assert open_protocol("paper", frame(2048, 1024), (512, 256)).input_size == (512, 256)


def test_frames_of_another_shape_are_refused_by_the_papers_protocol() -> None:
    protocol = open_protocol("paper", frame(2048, 1024), None)
    with pytest.raises(ParameterError, match=r"got 640x480 in 'frame', which does not fit 1024x512; take --protocol"):
        protocol(frame(640, 480))


def test_an_unknown_protocol_is_answered_with_those_that_exist() -> None:
    with pytest.raises(ParameterError, match="a protocol of full, paper, got 'kitti'"):
        open_protocol("kitti", frame(8, 8), None)
