"""Matching of images and ground truth by stamp: the nearest within the tolerance, each once."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.evaluation_samples import GROUND_TRUTH_TOPIC, IMAGE_TOPIC, changed, shots, write_bag

from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.evaluation.inputs.stamp_matching import Timestamps, match_timestamps, read_timestamps

NOW = 1_700_000_000_123_456_789
"""As float64 good for 256 ns only."""

SOME = st.lists(st.integers(0, 30), max_size=5)


def matched(images: list[int], ground_truths: list[int], tolerance: int) -> tuple[int | None, ...]:
    return match_timestamps(np.array(images, np.int64), np.array(ground_truths, np.int64), tolerance).ground_truth_of


@pytest.mark.parametrize(
    ("images", "ground_truths", "tolerance", "expected"),
    [
        ([0, 100, 200], [3, 104, 98, 300], 5, (0, 2, None)),
        ([100], [105], 5, (0,)),
        ([100], [106], 5, (None,)),
        ([100, 103], [102], 5, (None, 0)),
        ([100, 104], [102], 5, (0, None)),
        ([7, 7], [7, 7, 7], 0, (0, 1)),
        ([NOW], [NOW], 0, (0,)),
        ([NOW], [NOW + 1], 0, (None,)),
    ],
    ids=["nearest", "at tolerance", "beyond it", "one each", "tie: earlier", "equal", "today", "a nanosecond off"],
)
def test_the_nearest_within_the_tolerance_is_taken(
    images: list[int], ground_truths: list[int], tolerance: int, expected: tuple[int | None, ...]
) -> None:
    assert matched(images, ground_truths, tolerance) == expected


def test_what_is_left_over_and_how_near_the_nearest_was_is_told() -> None:
    matches = match_timestamps(np.array([0, 1000]), np.array([130, 400, 430]), 100)
    assert (matches.count, matches.unmatched_ground_truths, matches.nearest_ns) == (0, 3, 130)
    assert match_timestamps(np.array([], np.int64), np.array([1]), 100).nearest_ns is None


@given(SOME, SOME, st.integers(0, 6))
def test_pairs_lie_within_the_tolerance_and_leave_no_pair_out(
    images: list[int], ground_truths: list[int], tolerance: int
) -> None:
    ground_truth_of = matched(images, ground_truths, tolerance)
    taken = [ground_truth for ground_truth in ground_truth_of if ground_truth is not None]
    assert len(set(taken)) == len(taken)
    for image, ground_truth in zip(images, ground_truth_of, strict=True):
        if ground_truth is not None:
            assert abs(image - ground_truths[ground_truth]) <= tolerance
        else:
            free = set(range(len(ground_truths))) - set(taken)
            assert not [other for other in free if abs(image - ground_truths[other]) <= tolerance]


@given(SOME, st.integers(0, 6))
def test_the_order_of_the_ground_truths_does_not_matter(images: list[int], tolerance: int) -> None:
    ground_truths = sorted({image + 2 for image in images})
    distances = set()
    for order in list(permutations(ground_truths))[:6]:
        pairs = matched(images, list(order), tolerance)
        distances.add(tuple(None if ground_truth is None else order[ground_truth] for ground_truth in pairs))
    assert len(distances) <= 1


def stamps(*header_ns: int) -> Timestamps:
    return Timestamps(np.array(header_ns, np.int64), np.arange(1, len(header_ns) + 1))


def test_blank_stamps_give_way_to_the_time_of_the_bag() -> None:
    assert stamps(0, 0).stamps_ns.tolist() == [1, 2]
    assert stamps(0, 5).stamps_ns.tolist() == [0, 5]
    assert stamps().stamps_ns.tolist() == []


@pytest.mark.parametrize(
    ("header_ns", "told"),
    [
        ((1, 2, 3), ()),
        ((0, 0, 0), ("All stamps of the 3 images are zero",)),
        ((2, 1, 3), ("1 of 3 images are stamped earlier than the one before",)),
        ((0, 2, 3), ("1 of 3 images have a stamp of zero",)),
        ((1, 2, 2), ("1 of 3 images have the same stamp as another",)),
    ],
)
def test_what_is_wrong_with_stamps_is_told(header_ns: tuple[int, ...], told: tuple[str, ...]) -> None:
    said = stamps(*header_ns).faults("images")
    assert len(said) == len(told)
    for sentence, beginning in zip(said, told, strict=True):
        assert sentence.startswith(beginning)


def test_stamps_come_from_the_headers_in_the_order_of_the_bag(tmp_path: Path) -> None:
    content = changed(lambda index, shot: {"stamp_ns": shot.stamp_ns - 10 * index, "ground_truth_stamp_ns": 0})
    with BagReader(write_bag(tmp_path / "bag", content)) as reader:
        found = read_timestamps(reader, [IMAGE_TOPIC, GROUND_TRUTH_TOPIC])
    assert found[IMAGE_TOPIC].header_ns.tolist() == [shot.stamp_ns for shot in content]
    assert found[IMAGE_TOPIC].bag_ns.tolist() == [shot.time_ns for shot in shots()]
    assert found[GROUND_TRUTH_TOPIC].blank
