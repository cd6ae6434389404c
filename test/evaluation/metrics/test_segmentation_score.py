"""Segmentation scores: sums, JSON, and None for what was not scored."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from erfnet_ros.core.array_types import VOID, Pixels
from erfnet_ros.core.class_set import CAMVID, CITYSCAPES, ClassSet
from erfnet_ros.core.errors import ScoreError
from erfnet_ros.evaluation.metrics.segmentation_score import Calibration, Score

Frame = tuple[Pixels, Pixels, Pixels | None]

THREE = ClassSet("three", ("floor", "shelf", "person"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))
GROUPED = replace(THREE, categories=("thing", "thing", "human"))


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=7))
    ids = hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, VOID]))
    return draw(ids), draw(ids), draw(st.none() | hnp.arrays(np.uint8, shape))


def scored(frames: list[Frame], class_set: ClassSet = GROUPED) -> Score:
    score = Score(class_set)
    for frame in frames:
        score.add(*frame)
    return score


@given(st.lists(frames(), max_size=6), st.randoms(use_true_random=False))
def test_scores_of_parts_add_up_to_the_score_of_all_in_any_order(parts: list[Frame], random: Any) -> None:
    """A fleet's bags are scored in parallel: the report must not depend on which process was first."""
    whole = scored(parts)
    shuffled = list(parts)
    random.shuffle(shuffled)
    total = sum((scored([frame]) for frame in shuffled), Score(GROUPED))
    assert total == whole
    assert total.statistics() == whole.statistics()
    assert total.frames == len(parts)


@given(st.lists(frames(), max_size=4))
def test_a_score_survives_json_and_no_figure_is_ever_nan(parts: list[Frame]) -> None:
    score = scored(parts)
    written = json.dumps(score.to_dict(), allow_nan=False)
    assert Score.from_dict(json.loads(written)) == score
    statistics = score.statistics().to_dict()
    assert json.loads(json.dumps(statistics, allow_nan=False)) == statistics


@given(frames())
def test_a_frame_by_itself_says_what_a_score_of_it_alone_says(frame: Frame) -> None:
    score = Score(GROUPED)
    alone = score.add(*frame)
    statistics = score.statistics()
    assert (alone.miou, alone.pixel_accuracy) == (statistics.miou, statistics.pixel_accuracy)
    confidence = frame[2]
    assert (alone.mean_confidence is None) == (confidence is None)
    if confidence is not None:
        assert alone.mean_confidence == pytest.approx(confidence.mean() / 255)


def test_figures_by_hand() -> None:
    """Twelve known pixels, ten right; a floor pixel called shelf is right by category."""
    ground_truth = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [2, 2, 2, 2], [VOID] * 4], np.uint8)
    labels = np.array([[0, 0, 0, 1], [0, 0, 0, 0], [2, 2, 2, 0], [1, 1, 1, 1]], np.uint8)
    score = Score(GROUPED, boundaries=False)
    score.add(ground_truth, labels, np.full((4, 4), 255, np.uint8))
    statistics = score.statistics()
    assert statistics.frames == 1
    assert statistics.iou == {"floor": 7 / 9, "shelf": None, "person": 3 / 4}
    assert statistics.miou == pytest.approx((7 / 9 + 3 / 4) / 2)
    assert statistics.miou_with_false_classes == pytest.approx((7 / 9 + 0 + 3 / 4) / 3)
    assert statistics.absent == {"shelf": 1}
    assert statistics.category_iou == {"thing": 8 / 9, "human": 3 / 4}
    assert statistics.category_miou == pytest.approx((8 / 9 + 3 / 4) / 2)
    assert statistics.frequency_weighted_iou == pytest.approx((8 * 7 / 9 + 4 * 3 / 4) / 12)
    assert statistics.pixel_accuracy == pytest.approx(10 / 12)
    assert statistics.calibration_error == pytest.approx(2 / 12), "sure of all, right in ten of twelve"
    assert (statistics.boundary_f, statistics.boundary_f_by_class) == (None, {})


def test_a_boundary_score_is_the_mean_over_the_frames_that_have_the_boundary() -> None:
    edge, plain = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    edge[:, 4:] = 1
    score = Score(THREE)
    score.add(edge, edge)
    score.add(edge, plain)
    score.add(plain, plain)
    statistics = score.statistics()
    assert statistics.boundary_f_by_class == {"floor": 0.5, "shelf": 0.5, "person": None}
    assert statistics.boundary_f == 0.5


def test_a_class_that_is_only_predicted_is_named_with_its_false_pixels_and_pulls_no_mean_down() -> None:
    """A few false pixels of a rare class would cost a short bag several points of mIoU, and not the network."""
    ground_truth = np.zeros((8, 8), np.uint8)
    labels = ground_truth.copy()
    labels[0, 2:4] = 1
    statistics = scored([(ground_truth, labels, None)], THREE).statistics()
    assert statistics.iou == {"floor": 62 / 64, "shelf": None, "person": None}
    assert (statistics.miou, statistics.miou_with_false_classes) == (62 / 64, 31 / 64)
    assert statistics.absent == {"shelf": 2, "person": 0}
    assert statistics.absent_classes() == "shelf (2 false pixels), person"
    assert statistics.boundary_f_by_class["shelf"] is None
    assert statistics.boundary_f == statistics.boundary_f_by_class["floor"]


def test_nothing_scored_has_no_figures() -> None:
    statistics = Score(CAMVID).statistics()
    assert (statistics.miou, statistics.category_miou, statistics.frequency_weighted_iou) == (None, None, None)
    assert (statistics.pixel_accuracy, statistics.boundary_f, statistics.calibration_error) == (None, None, None)
    assert statistics.absent == dict.fromkeys(CAMVID.names, 0)


def test_a_set_without_categories_has_no_category_figures() -> None:
    statistics = Score(THREE).statistics()
    assert (statistics.category_iou, statistics.category_miou) == (None, None)


def test_the_calibration_curve_is_read_off_the_bins() -> None:
    ground_truth = np.zeros((1, 4), np.uint8)
    labels = np.array([[0, 1, 0, 0]], np.uint8)
    score = scored([(ground_truth, labels, np.array([[255, 245, 51, 51]], np.uint8))])
    assert score.calibration.accuracy[14] == 0.5
    assert score.calibration.mean_confidence[14] == pytest.approx(500 / 510)
    assert score.calibration.accuracy[2] == 1
    assert score.calibration.accuracy[0] is score.calibration.mean_confidence[0] is None
    assert Calibration().error is None


def test_scores_of_different_classes_do_not_add() -> None:
    with pytest.raises(ScoreError, match="one class set to add, got 'camvid' and 'cityscapes'"):
        Score(CAMVID) + Score(CITYSCAPES)
    with pytest.raises(ScoreError, match="boundaries in both scores to add or in neither"):
        Score(CAMVID) + Score(CAMVID, boundaries=False)


def test_labels_of_another_shape_or_class_are_refused_and_not_counted() -> None:
    score = Score(THREE)
    with pytest.raises(ValueError, match="one shape"):
        score.add(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8))
    with pytest.raises(ValueError, match=r"in ground truth, got \[3\]"):
        score.add(np.full((2, 2), 3, np.uint8), np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match=r"confidence of one shape"):
        score.add(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8), np.zeros(4, np.uint8))
    assert score == Score(THREE)


def damaged(**changes: Any) -> dict[str, Any]:
    return scored([(np.zeros((4, 4), np.uint8),) * 3]).to_dict() | changes


@pytest.mark.parametrize(
    "content",
    [
        None,
        {},
        damaged(frames="many"),
        damaged(matrix=[[1, 2], [3, 4]]),
        damaged(matrix=[[0.5] * 4] * 3),
        damaged(matrix=[[-1] * 4] * 3),
        damaged(boundaries=[[1, 2, 3]]),
        damaged(calibration={"pixels": [1]}),
        damaged(calibration={**asdict(Calibration()), "more": []}),
        damaged(class_set={"name": "x"}),
    ],
)
def test_damaged_counts_are_refused_instead_of_reported(content: Any) -> None:
    """A run that was killed while writing must not resume with another number."""
    with pytest.raises(ScoreError, match=r"Expected the counts of a score, got damaged ones .* score again"):
        Score.from_dict(content)
