"""Frame tracker: which output belongs to which image."""

from __future__ import annotations

import threading

import pytest

from erfnet_ros.ros.harness.frame_tracker import FrameTracker
from erfnet_ros.ros.harness.playback import Sent

MS = 1_000_000


def sent(index: int, stamp_ns: int, published_ns: int | None = None) -> Sent:
    return Sent(index, stamp_ns, stamp_ns if published_ns is None else published_ns, 0.1)


@pytest.fixture
def tracker() -> FrameTracker:
    return FrameTracker("camera", ("mask",))


def test_latency_runs_from_the_stamp_to_the_masks_arrival(tracker: FrameTracker) -> None:
    tracker.note_sent(sent(7, 100 * MS))
    assert tracker.note_output("mask", 100 * MS, frame_id="camera", at_ns=130 * MS) == 7
    assert tracker.latencies_ms == [30.0]
    assert (tracker.frames_in, tracker.frames_out, tracker.mismatched) == (1, 1, 0)


@pytest.mark.parametrize(("stamp_ms", "frame_id"), [(101, "camera"), (100, "base_link")])
def test_an_output_with_another_stamp_or_frame_id_is_counted_as_mismatched(
    tracker: FrameTracker, stamp_ms: int, frame_id: str
) -> None:
    tracker.note_sent(sent(0, 100 * MS))
    assert tracker.note_output("mask", stamp_ms * MS, frame_id=frame_id, at_ns=130 * MS) is None
    assert (tracker.frames_out, tracker.mismatched) == (0, 1)


def test_an_answer_may_overtake_the_cameras_log(tracker: FrameTracker) -> None:
    late = threading.Timer(0.1, lambda: tracker.note_sent(sent(3, 100 * MS)))
    late.start()
    assert tracker.note_output("mask", 100 * MS, frame_id="camera", at_ns=130 * MS) == 3
    late.join()


def test_the_last_frame_is_complete_once_every_topic_is_there() -> None:
    tracker = FrameTracker("camera", ("mask", "overlay"))
    assert not tracker.is_last_complete()
    tracker.note_sent(sent(0, 1 * MS))
    tracker.note_sent(sent(1, 2 * MS))
    tracker.note_output("mask", 1 * MS, frame_id="camera", at_ns=3 * MS)
    tracker.note_output("overlay", 1 * MS, frame_id="camera", at_ns=3 * MS)
    tracker.note_output("mask", 2 * MS, frame_id="camera", at_ns=4 * MS)
    assert not tracker.is_last_complete()
    tracker.note_output("overlay", 2 * MS, frame_id="camera", at_ns=4 * MS)
    assert tracker.is_last_complete()


def test_dropped_frames_are_named_to_be_played_again(tracker: FrameTracker) -> None:
    for index in range(4):
        tracker.note_sent(sent(index, (10 + index) * MS))
    for index in (0, 3):
        tracker.note_output("mask", (10 + index) * MS, frame_id="camera", at_ns=20 * MS)
    assert tracker.unanswered(range(4)) == [1, 2]


def test_the_pause_between_two_passes_does_not_count_as_playing(tracker: FrameTracker) -> None:
    """Otherwise the reported fps would depend on how long it took to start the second pass."""
    for start_ms in (1_000, 60_000):
        tracker.begin_pass()
        tracker.note_sent(sent(start_ms, start_ms * MS))
        tracker.note_output("mask", start_ms * MS, frame_id="camera", at_ns=(start_ms + 500) * MS)
    assert tracker.playing_s == pytest.approx(1.0)


def test_quarters_follow_the_order_of_arrival(tracker: FrameTracker) -> None:
    for index in range(8):
        tracker.note_sent(sent(index, index * 1_000 * MS + 1))
        tracker.note_output(
            "mask", index * 1_000 * MS + 1, frame_id="camera", at_ns=index * 1_000 * MS + 1 + (10 + index // 2) * MS
        )
    assert [quarter.p99 for quarter in tracker.quarters()] == [10, 11, 12, 13]


def test_where_stamps_are_of_another_clock_latency_runs_from_the_publication() -> None:
    """A bag's images bear the stamps of the day on which it was recorded."""
    tracker = FrameTracker(None, ("mask",))
    tracker.note_sent(sent(7, 100 * MS, 5_000 * MS))
    assert tracker.note_output("mask", 100 * MS, frame_id="any", at_ns=5_030 * MS) == 7
    assert tracker.latencies_ms == [30.0]


def test_an_answer_to_an_image_sent_before_the_window_does_not_count_in_it(tracker: FrameTracker) -> None:
    """A slow machine answers warm-up images late; counted, more images would be answered than were sent."""
    for stamp_ms in (100, 200):
        tracker.note_sent(sent(0, stamp_ms * MS))
    tracker.start_window()
    tracker.note_sent(sent(0, 300 * MS))
    assert tracker.note_output("mask", 200 * MS, frame_id="camera", at_ns=310 * MS) is None
    assert not tracker.is_last_complete()
    assert tracker.note_output("mask", 300 * MS, frame_id="camera", at_ns=320 * MS) == 0
    assert (tracker.frames_in, tracker.frames_out, tracker.mismatched) == (1, 1, 0)
    assert tracker.latencies_ms == [20.0]


def test_an_answer_to_a_frame_that_is_played_again_has_the_latency_of_its_own_image(tracker: FrameTracker) -> None:
    tracker.note_sent(sent(5, 100 * MS))
    tracker.note_sent(sent(5, 400 * MS))
    assert tracker.note_output("mask", 100 * MS, frame_id="camera", at_ns=450 * MS) == 5
    assert tracker.latencies_ms == [350.0]


def test_a_second_answer_to_one_image_is_counted_as_mismatched(tracker: FrameTracker) -> None:
    """Another node in the same domain answers every image once more."""
    tracker.note_sent(sent(0, 100 * MS))
    for _ in range(2):
        tracker.note_output("mask", 100 * MS, frame_id="camera", at_ns=130 * MS)
    assert (tracker.frames_out, tracker.counts["mask"], tracker.mismatched) == (1, 1, 1)
