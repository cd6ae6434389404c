"""The tracker tells which output belongs to which frame; a wrong match would make every figure of the demo wrong."""

from __future__ import annotations

import threading

import pytest

from erfnet_ros.ros.harness.frame_tracker import FrameTracker

MS = 1_000_000


def test_latency_runs_from_the_stamp_to_the_masks_arrival() -> None:
    tracker = FrameTracker("camera", ("mask",))
    tracker.sent(7, 100 * MS)
    assert tracker.received("mask", 100 * MS, "camera", 130 * MS) == 7
    assert tracker.latencies_ms == (30.0,)
    assert (tracker.frames_in, tracker.frames_out, tracker.mismatched) == (1, 1, 0)


def test_an_output_with_a_stamp_that_no_frame_has_is_counted_as_mismatched() -> None:
    tracker = FrameTracker("camera", ("mask",))
    tracker.sent(0, 100 * MS)
    assert tracker.received("mask", 101 * MS, "camera", 130 * MS) is None
    assert (tracker.frames_out, tracker.mismatched) == (0, 1)


def test_an_output_with_another_frame_id_is_counted_as_mismatched() -> None:
    tracker = FrameTracker("camera", ("mask",))
    tracker.sent(0, 100 * MS)
    assert tracker.received("mask", 100 * MS, "base_link", 130 * MS) is None
    assert tracker.mismatched == 1


def test_an_answer_may_overtake_the_cameras_log() -> None:
    tracker = FrameTracker("camera", ("mask",))
    late = threading.Timer(0.1, lambda: tracker.sent(3, 100 * MS))
    late.start()
    assert tracker.received("mask", 100 * MS, "camera", 130 * MS) == 3
    late.join()


def test_the_last_frame_is_complete_once_every_topic_is_there() -> None:
    tracker = FrameTracker("camera", ("mask", "overlay"))
    assert not tracker.is_last_complete()
    tracker.sent(0, 1 * MS)
    tracker.sent(1, 2 * MS)
    tracker.received("mask", 1 * MS, "camera", 3 * MS)
    tracker.received("overlay", 1 * MS, "camera", 3 * MS)
    tracker.received("mask", 2 * MS, "camera", 4 * MS)
    assert not tracker.is_last_complete()
    tracker.received("overlay", 2 * MS, "camera", 4 * MS)
    assert tracker.is_last_complete()


def test_dropped_frames_are_named_to_be_played_again() -> None:
    tracker = FrameTracker("camera", ("mask",))
    for index in range(4):
        tracker.sent(index, (10 + index) * MS)
    for index in (0, 3):
        tracker.received("mask", (10 + index) * MS, "camera", 20 * MS)
    assert tracker.unanswered(range(4)) == [1, 2]


def test_the_pause_between_two_passes_does_not_count_as_playing() -> None:
    """Otherwise the reported fps would depend on how long it took to start the second pass."""
    tracker = FrameTracker("camera", ("mask",))
    for start_ms in (1_000, 60_000):
        tracker.begin_pass()
        tracker.sent(start_ms, start_ms * MS)
        tracker.received("mask", start_ms * MS, "camera", (start_ms + 500) * MS)
    assert tracker.playing_s == pytest.approx(1.0)


def test_quarters_follow_the_order_of_arrival() -> None:
    tracker = FrameTracker("camera", ("mask",))
    for index in range(8):
        tracker.sent(index, index * 1_000 * MS + 1)
        tracker.received("mask", index * 1_000 * MS + 1, "camera", index * 1_000 * MS + 1 + (10 + index // 2) * MS)
    assert [quarter.p99 for quarter in tracker.quarters()] == [10, 11, 12, 13]


def test_where_stamps_are_of_another_clock_latency_runs_from_the_publication() -> None:
    """A bag's images bear the stamps of the day on which it was recorded."""
    tracker = FrameTracker(None, ("mask",))
    tracker.sent(7, 100 * MS, 5_000 * MS)
    assert tracker.received("mask", 100 * MS, "any", 5_030 * MS) == 7
    assert tracker.latencies_ms == (30.0,)
    assert (tracker.published_ns, tracker.arrived_ns) == ({7: 5_000 * MS}, {7: 5_030 * MS})


def test_an_answer_to_a_stamp_that_several_frames_bear_belongs_to_the_last_that_was_sent() -> None:
    tracker = FrameTracker(None, ("mask",))
    tracker.sent(0, 100 * MS, 5_000 * MS)
    tracker.sent(1, 100 * MS, 5_100 * MS)
    assert tracker.frames_in == 2
    assert tracker.received("mask", 100 * MS, "any", 5_130 * MS) == 1
