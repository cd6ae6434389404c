"""The progress display of a long evaluation, in a log file and on a terminal."""

from __future__ import annotations

import io
import re

import pytest

from erfnet_ros.core import progress
from erfnet_ros.core.progress import BagProgress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in seconds, to be set by the test."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_now_and_then_with_the_time_that_is_left(clock: list[float]) -> None:
    """A CI job of an hour must not look dead, and must not write a line per image."""
    stream = io.StringIO()
    with BagProgress(1, stream) as shown:
        shown.show(0, 0, 1200)
        for second in range(1, 25):
            clock[0] = 100.0 + second
            shown.show(0, 10 * second, 1200)
    assert stream.getvalue().splitlines() == [
        "erfnet: Evaluating images: 100 of 1200, 10.0 per second, 1.8 minutes left",
        "erfnet: Evaluating images: 200 of 1200, 10.0 per second, 1.7 minutes left",
    ]


def test_what_an_earlier_run_had_done_does_not_count_as_speed(clock: list[float]) -> None:
    stream = io.StringIO()
    with BagProgress(1, stream) as shown:
        shown.show(0, 1000, 1200)
        clock[0] += 10
        shown.show(0, 1100, 1200)
    assert "1100 of 1200, 10.0 per second, 0.2 minutes left" in stream.getvalue()


def test_bags_that_have_not_begun_are_taken_to_be_as_long_as_the_others(clock: list[float]) -> None:
    stream = io.StringIO()
    with BagProgress(4, stream) as shown:
        shown.show(0, 0, 100)
        shown.show(2, 0, 300)
        clock[0] += 10
        shown.show(2, 100, 300)
    assert "100 of 800," in stream.getvalue()


def test_on_a_terminal_there_is_a_bar() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with BagProgress(1, stream) as shown:
        shown.show(0, 3, 7)
    assert re.search(r"Evaluating.*3/7", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue()))
