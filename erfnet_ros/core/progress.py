"""How far an evaluation is: a bar with the time that is left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TextIO, TypeVar

_PLAIN_PERIOD_S = 10.0


class BagProgress:
    """Show images that are done, over all bags; to be used as a context manager, from any thread.

    Args:
        bags: Number of bags.
        stream: Where to show it.
    """

    def __init__(self, bags: int, stream: TextIO | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._stream = stream or sys.stderr
        self._done, self._totals = [0] * bags, [0] * bags
        self._first: dict[int, int] = {}
        self._start_s = self._said_s = time.monotonic()
        console = Console(file=self._stream)
        self._bar: Progress | None = None
        if console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=console)
            self._task = self._bar.add_task("Evaluating", total=None)

    def __enter__(self) -> BagProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, bag: int, done: int, total: int) -> None:
        """Note that `done` of `total` images of a bag are done; of bags not begun the number is not known yet."""
        self._first.setdefault(bag, done)
        self._done[bag], self._totals[bag] = done, total
        begun = [number for number in self._totals if number]
        known = len(begun) == len(self._totals)
        # Bags that have not begun are taken to be as long as those that have.
        expected = sum(begun) if known else round(sum(begun) * len(self._totals) / len(begun)) if begun else 0
        if self._bar is not None:
            name = "Evaluating" if len(self._totals) == 1 else f"Evaluating {len(self._totals)} bags"
            self._bar.update(self._task, description=name, completed=sum(self._done), total=expected)
        elif time.monotonic() - self._said_s >= _PLAIN_PERIOD_S:
            self._said_s = time.monotonic()
            print(self._line(expected), file=self._stream, flush=True)

    def _line(self, expected: int) -> str:
        done = sum(self._done)
        # What an earlier run had done says nothing of the speed of this one.
        fps = (done - sum(self._first.values())) / (time.monotonic() - self._start_s)
        left = f", {(expected - done) / fps / 60:.1f} minutes left" if fps > 0 else ""
        return f"erfnet: {done} of {expected} images, {fps:.1f} per second{left}"


Item = TypeVar("Item")


def tracked(items: Iterable[Item], total: int, description: str) -> Iterator[Item]:
    """Yield the items while a bar on stderr shows how many of `total` are done, and the time that remains."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr)) as progress:
        yield from progress.track(items, total=total, description=description)


_TERMINAL_PERIOD_S = 0.2


_LOG_PERIOD_S = 5.0


class Progress:
    """Show frames in and out while they are played.

    Args:
        total: Frames that the source has.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._terminal = sys.stdout.isatty()
        self._period_s = _TERMINAL_PERIOD_S if self._terminal else _LOG_PERIOD_S
        self._start_s: float | None = None
        self._shown_s = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._terminal:
            print(flush=True)

    def show(self, frames_in: int, frames_out: int) -> None:
        """Show the numbers, unless they were shown a moment ago."""
        now_s = time.monotonic()
        if self._start_s is None:
            # What comes before the first frame is not the node's pace.
            self._start_s = self._shown_s = now_s
        if now_s - self._shown_s < self._period_s:
            return
        self._shown_s = now_s
        fps = frames_out / (now_s - self._start_s)
        line = f"{frames_in} frames in, {frames_out} of {self._total} out, {fps:.1f} fps"
        print(f"\r{line:<60}" if self._terminal else line, end="" if self._terminal else "\n", flush=True)
