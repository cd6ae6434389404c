"""The score of a data set, compared with the sum of its frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.small_datasets import write

from erfnet_ros.core.array_types import VOID, Pixels
from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.errors import ParameterError, SourceError
from erfnet_ros.data.datasets import open_dataset
from erfnet_ros.data.frame_sources import Frame, spread_evenly
from erfnet_ros.evaluation.dataset.measure import FrameScore, Measurement, measure
from erfnet_ros.evaluation.metrics.segmentation_score import FrameStatistics, Score
from erfnet_ros.inference.segmenter import Segmentation, StageTimes


def make_camvid(root: Path, frames: int) -> Path:
    """Make a test split of noise; void is 11, as in the data set's files."""
    rng = np.random.default_rng(0)
    for index in range(frames):
        write(root / "test" / "images" / f"frame_{index}.png", rng.integers(0, 256, (24, 32, 3), np.uint8))
        write(root / "test" / "labels" / f"frame_{index}.png", rng.integers(0, 12, (24, 32), np.uint8))
    return root


def bright(rgb: Pixels) -> Segmentation:
    """Label by brightness: a network that needs no weights."""
    return Segmentation((rgb[..., 0] // 24).astype(np.uint8), rgb[..., 1], StageTimes(0.0, 0.0))


def test_the_score_is_that_of_the_frames_one_by_one(tmp_path: Path) -> None:
    data = open_dataset("camvid", make_camvid(tmp_path, 7), "test")
    kept: list[tuple[str, int]] = []
    found = measure(
        data, range(7), bright, keep=lambda frame, labels: kept.append((frame.name, int(labels.astype(int).sum())))
    )
    expected = Score(data.class_set)
    statistics = []
    for frame in data:
        assert frame.ground_truth is not None
        own = bright(frame.rgb)
        statistics.append(expected.add(frame.ground_truth, own.labels, own.confidence))
    assert found.score == expected
    assert [entry.statistics for entry in found.frames] == statistics
    assert [entry.index for entry in found.frames] == list(range(7))
    assert kept == [(frame.name, int(bright(frame.rgb).labels.astype(int).sum())) for frame in data]


def test_frames_are_scored_as_they_were_prepared(tmp_path: Path) -> None:
    data = open_dataset("camvid", make_camvid(tmp_path, 2), "test")

    def top(frame: Frame) -> Frame:
        assert frame.ground_truth is not None
        return Frame(frame.name, frame.rgb[:10], frame.ground_truth[:10])

    found = measure(data, [1], bright, prepare=top)
    ground_truth = data[1].ground_truth
    assert ground_truth is not None
    assert found.score.matrix.sum() == (ground_truth[:10] != VOID).sum()
    assert found.sizes == ((32, 10),)
    assert [entry.name for entry in found.frames] == [data[1].name]


def test_a_split_without_ground_truth_is_labeled_but_has_no_score(tmp_path: Path) -> None:
    for number in range(6):
        image = np.full((24, 32, 3), 40 * number, np.uint8)
        write(tmp_path / "leftImg8bit" / "test" / "berlin" / f"berlin_000000_{number:06d}_leftImg8bit.png", image)
    data = open_dataset("cityscapes", tmp_path, "test")
    kept: list[str] = []
    found = measure(data, range(len(data)), bright, keep=lambda frame, labels: kept.append(frame.name))
    assert (found.frames, found.score.frames, len(kept)) == ((), 0, 6)


def test_a_corrupt_frame_in_the_middle_stops_the_run_with_its_name(tmp_path: Path) -> None:
    """A figure over the readable rest would look like the data set's."""
    data = open_dataset("camvid", make_camvid(tmp_path, 9), "test")
    data.entries()[5].image.write_bytes(b"no image")
    with pytest.raises(SourceError, match=r"frame_5\.png"):
        measure(data, range(9), bright)


NONE = np.zeros((11, 12), np.int64)


def test_the_best_and_the_worst_come_first() -> None:
    mious = [0.5, 0.9, None, 0.1, 0.7]
    frames = tuple(FrameScore(i, str(i), FrameStatistics(miou, miou, None), NONE) for i, miou in enumerate(mious))
    measurement = Measurement(Score(CAMVID), frames, ())
    assert [frame.name for frame in measurement.best(2)] == ["1", "4"]
    assert [frame.name for frame in measurement.worst(3)] == ["3", "0", "4"]
    assert len(measurement.best(9)) == 4


def test_the_worst_confusions_are_those_that_cost_most_iou_with_the_frame_that_shows_most(tmp_path: Path) -> None:
    """A robot's maker wants to know what to label next: a pole lost in a building, not its edges."""
    labels = {0: np.full((10, 100), 1, np.uint8), 1: np.full((10, 100), 1, np.uint8)}
    ground_truths = {number: pixels.copy() for number, pixels in labels.items()}
    ground_truths[0][0, :4], ground_truths[1][0, :36] = 2, 2
    ground_truths[1][1, :50] = 3
    labels[1][2, :], ground_truths[1][2, :] = 3, 3
    for number, ground_truth in ground_truths.items():
        write(tmp_path / "test" / "images" / f"{number}.png", np.full((10, 100, 3), number, np.uint8))
        write(tmp_path / "test" / "labels" / f"{number}.png", ground_truth)
    data = open_dataset("camvid", tmp_path, "test")

    def segment(rgb: Pixels) -> Segmentation:
        return Segmentation(labels[int(rgb[0, 0, 0])], np.zeros((10, 100), np.uint8), StageTimes(0.0, 0.0))

    found = measure(data, range(2), segment)
    first, second = found.confusions(9)
    assert (first.true, first.labeled, first.pixels, first.share) == ("pole", "building", 40, 1.0)
    assert first.frame.name == "1"
    assert (second.true, second.labeled, second.pixels) == ("road", "building", 50)


@given(st.integers(1, 300), st.integers(1, 400))
def test_a_limit_spreads_the_frames_evenly(count: int, limit: int) -> None:
    """The first frames of a drive look alike, and would say little of the rest."""
    indices = list(spread_evenly(count, limit))
    assert len(indices) == min(count, limit)
    assert sorted(set(indices)) == indices
    assert 0 <= indices[0] <= indices[-1] < count
    steps = np.diff([-indices[0] - 1, *indices, 2 * count - indices[-1] - 1])
    assert steps.max() - steps.min() <= 3


def test_a_limit_below_one_is_refused() -> None:
    assert spread_evenly(5, None) == range(5)
    with pytest.raises(ParameterError, match="a limit of 1 frame or more, got 0"):
        spread_evenly(5, 0)
