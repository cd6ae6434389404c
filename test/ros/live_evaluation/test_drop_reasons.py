"""Drop reasons of every image without an answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from hypothesis import given
from hypothesis import strategies as st

from erfnet_ros.evaluation.results.frame_records import DROPPED, REJECTED
from erfnet_ros.ros.harness.output_recorder import NodeCounts
from erfnet_ros.ros.live_evaluation.drop_reasons import (
    LOST_AFTER,
    LOST_BEFORE,
    REFUSED,
    SKIPPED,
    DropReason,
    drop_reasons,
)


def reasons(
    sent: range, answered: set[int], reports: dict[int, NodeCounts], final: NodeCounts, unreadable: Collection[int] = ()
) -> dict[int, str]:
    found = drop_reasons(sent, answered, reports=reports, final=final, unreadable=unreadable)
    return {index: drop.reason for index, drop in found.items()}


def test_images_that_the_node_passed_over_lie_between_those_it_reported() -> None:
    reports = {0: NodeCounts(1, 0, 0), 3: NodeCounts(2, 2, 0)}
    assert drop_reasons(range(4), {0, 3}, reports=reports, final=NodeCounts(2, 2, 0), unreadable=()) == {
        1: DropReason(DROPPED, SKIPPED),
        2: DropReason(DROPPED, SKIPPED),
    }


def test_an_image_that_cannot_be_decoded_is_the_one_that_was_refused() -> None:
    reports = {0: NodeCounts(1, 0, 0), 3: NodeCounts(2, 1, 1)}
    found = drop_reasons(range(4), {0, 3}, reports=reports, final=NodeCounts(2, 1, 1), unreadable={2})
    assert found == {1: DropReason(DROPPED, SKIPPED), 2: DropReason(REJECTED, REFUSED)}


def test_an_image_that_the_node_never_counted_was_lost_before_it() -> None:
    reports = {0: NodeCounts(1, 0, 0), 2: NodeCounts(2, 0, 0)}
    assert reasons(range(3), {0, 2}, reports, NodeCounts(2, 0, 0)) == {1: LOST_BEFORE}


def test_an_image_that_the_node_segmented_in_vain_lost_its_mask_on_the_way_back() -> None:
    reports = {0: NodeCounts(1, 0, 0), 2: NodeCounts(3, 0, 0)}
    assert reasons(range(3), {0, 2}, reports, NodeCounts(3, 0, 0)) == {1: LOST_AFTER}


def test_lost_statistics_make_no_mask_lost() -> None:
    """Image 1 was answered; only its statistics did not come."""
    reports = {0: NodeCounts(1, 0, 0), 3: NodeCounts(3, 1, 0)}
    assert reasons(range(4), {0, 1, 3}, reports, NodeCounts(3, 1, 0)) == {2: SKIPPED}


def test_images_behind_the_last_answer_are_told_by_the_final_counts() -> None:
    reports = {0: NodeCounts(1, 0, 0)}
    assert reasons(range(3), {0}, reports, NodeCounts(1, 0, 1), {1}) == {1: REFUSED, 2: LOST_BEFORE}


@given(st.lists(st.sampled_from(["answered", "dropped", "rejected", "lost"]), max_size=30))
def test_the_reasons_add_up_to_what_the_node_counted(story: list[str]) -> None:
    """In = out + dropped + rejected + lost, whatever happened in whatever order."""
    counts, reports = Counter[str](), {}
    for index, event in enumerate(story):
        counts[event] += 1
        if event == "answered":
            reports[index] = NodeCounts(counts["answered"], counts["dropped"], counts["rejected"])
    final = NodeCounts(counts["answered"], counts["dropped"], counts["rejected"])
    unreadable = {index for index, event in enumerate(story) if event == "rejected"}
    found = reasons(range(len(story)), reports.keys(), reports, final, unreadable)
    assert len(found) + counts["answered"] == len(story)
    assert {index for index, reason in found.items() if reason == REFUSED} == unreadable
    assert Counter(found.values())[SKIPPED] == counts["dropped"]
    assert Counter(found.values())[LOST_BEFORE] == counts["lost"]
    assert LOST_AFTER not in found.values()
