"""Stamp matcher: masks paired with depth images of the same time."""

from __future__ import annotations

from erfnet_ros.ros.points.stamp_matcher import StampMatcher


def matched(matcher: StampMatcher, tolerance: int) -> list[tuple[str, str]]:
    return [(frame["mask"], depth) for frame, depth in matcher.matches(tolerance)]


def fed(*messages: tuple[str, int]) -> StampMatcher:
    matcher = StampMatcher(("mask", "image"))
    for topic, stamp in messages:
        matcher.add(topic, stamp, f"{topic} {stamp}")
    return matcher


def test_a_frame_is_complete_with_all_its_topics_and_is_matched_once() -> None:
    matcher = fed(("image", 10), ("depth", 10))
    assert matched(matcher, 0) == []
    matcher.add("mask", 10, "mask 10")
    assert matched(matcher, 0) == [("mask 10", "depth 10")]
    assert matched(matcher, 0) == []
    assert matcher.unmatched == 0


def test_the_nearest_depth_is_waited_for() -> None:
    matcher = fed(("image", 10), ("mask", 10), ("depth", 7))
    assert matched(matcher, 5) == []
    matcher.add("depth", 12, "depth 12")
    assert matched(matcher, 5) == [("mask 10", "depth 12")]


def test_one_depth_may_serve_two_frames() -> None:
    matcher = fed(("image", 10), ("mask", 10), ("depth", 11), ("depth", 30))
    assert matched(matcher, 5) == [("mask 10", "depth 11")]
    matcher.add("image", 12, "image 12")
    matcher.add("mask", 12, "mask 12")
    assert matched(matcher, 5) == [("mask 12", "depth 11")]


def test_a_depth_beyond_the_tolerance_is_counted_as_unmatched() -> None:
    matcher = fed(("image", 10), ("mask", 10), ("depth", 4), ("depth", 16))
    assert matched(matcher, 5) == []
    assert matcher.unmatched == 1


def test_older_frames_are_dropped_and_counted_if_they_were_segmented() -> None:
    matcher = fed(("image", 1), ("mask", 2), ("image", 10), ("mask", 10), ("depth", 10))
    assert matched(matcher, 0) == [("mask 10", "depth 10")]
    assert matcher.unmatched == 1


def test_what_finds_no_partner_does_not_fill_the_memory() -> None:
    matcher = fed(*((topic, stamp) for stamp in range(500) for topic in ("mask", "depth")))
    assert matcher.unmatched == 500 - len(matcher._frames)
    assert len(matcher._frames) == len(matcher._depths) < 20


def test_time_that_jumps_back_is_matched_again() -> None:
    """A bag that starts over."""
    matcher = fed(("depth", 1000))
    assert matched(matcher, 5) == []
    pairs = []
    for stamp in range(0, 100, 10):
        for topic in ("depth", "image", "mask"):
            matcher.add(topic, stamp, f"{topic} {stamp}")
        pairs += matched(matcher, 5)
    assert pairs == [(f"mask {stamp}", f"depth {stamp}") for stamp in range(0, 100, 10)]
