"""Example frames: the extremes of a bag, at different times."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.config_schema import encode
from erfnet_ros.core.errors import ErfnetError
from erfnet_ros.evaluation.results.example_frames import PER_KIND, Candidate, ExampleFrames

RGB = np.zeros((12, 16, 3), np.uint8)
IDS = np.zeros((12, 16), np.uint8)


def example_frames(mious: list[float | None], images: int | None = None) -> ExampleFrames:
    """Return example frames out of frames with these mIoUs; a frame is as sure as it is right."""
    found = ExampleFrames(CAMVID, len(mious) if images is None else images)
    for index, miou in enumerate(mious):
        ground_truth = None if miou is None else IDS
        frame = Candidate(index, 1000 + index, miou, 0.5 if miou is None else miou, {"car": 0.25})
        found.add(frame, rgb=RGB, ground_truth=ground_truth, labels=IDS)
    return found


def indexes(found: ExampleFrames, kind: str) -> list[int]:
    return [entry.index for entry in found.candidates()[kind]]


def test_the_extremes_come_first() -> None:
    found = example_frames([0.5, 0.9, 0.1, 0.7, 0.3, 0.6])
    assert indexes(found, "best") == [1, 3, 5, 0]
    assert indexes(found, "worst") == indexes(found, "uncertain") == [2, 4, 0, 5]


def test_of_neighbors_the_more_extreme_stays() -> None:
    """At 30 Hz the four best frames would be one frame."""
    mious = [0.5] * 320
    mious[100:103] = [0.8, 0.9, 0.85]
    found = example_frames(mious)
    assert indexes(found, "best")[0] == 101
    assert all(abs(a - b) >= 20 for kind in ("best", "worst") for a in indexes(found, kind)
               for b in indexes(found, kind) if a != b)  # fmt: skip


def test_without_ground_truth_there_are_only_uncertain_frames() -> None:
    found = example_frames([None, None])
    assert (indexes(found, "best"), indexes(found, "worst"), indexes(found, "uncertain")) == ([], [], [0, 1])


@settings(max_examples=15)
@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5]), min_size=2, max_size=30), st.integers(1, 29))
def test_it_goes_on_after_a_restore_as_if_nothing_had_been(mious: list[float], cut: int) -> None:
    cut = min(cut, len(mious))
    whole, first = example_frames(list(mious), 200), example_frames(list(mious[:cut]), 200)
    second = ExampleFrames(CAMVID, 200)
    second.restore(json.loads(json.dumps(encode(first.candidates()))))
    for index in range(cut, len(mious)):
        frame = Candidate(index, 1000 + index, mious[index], mious[index], {"car": 0.25})
        second.add(frame, rgb=RGB, ground_truth=IDS, labels=IDS)
    assert second.candidates() == whole.candidates()
    assert all(len(kept) <= PER_KIND for kept in whole.candidates().values())


@pytest.mark.parametrize("content", [None, {"best": None}, {"best": [{"jpeg": ""}]}, {"best": [{"index": "1"}]}])
def test_a_damaged_candidate_is_refused(content: object) -> None:
    with pytest.raises(ErfnetError, match="Expected"):
        ExampleFrames(CAMVID, 200).restore(content)
