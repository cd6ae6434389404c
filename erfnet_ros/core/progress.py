"""Progress display: a bar with the remaining time on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

_LOG_PERIOD_S = 10.0

Item = TypeVar("Item")


class Progress:
    """Show on stderr, or a stream, how many items are finished, and of how many; may be updated from any thread."""

    def __init__(self, description: str, total: int | None = None, stream: TextIO | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._stream = stream or sys.stderr
        self._description, self._total, self._done = description, total, 0
        self._start: tuple[float, int] | None = None
        self._shown_s = 0.0
        console = Console(file=self._stream)
        count = TextColumn("{task.completed:.0f}/{task.total:.0f}")
        columns = (TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn())
        # A refresh takes processor time from what is measured meanwhile.
        self._bar = Progress(*columns, console=console, refresh_per_second=4, disable=not console.is_terminal)
        self._task = self._bar.add_task(description, total=total or 0)

    def __enter__(self: _Self) -> _Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        # rich 11 prints an empty line even where the bar is disabled.
        if not self._bar.disable:
            self._bar.stop()

    def update(self, done: int, total: int | None = None, note: str = "") -> None:
        """Show that `done` items are finished; the first call may have those of an earlier run.

        Args:
            done: Finished items.
            total: Number of items, where it has changed.
            note: Appended to the description.
        """
        self._done, self._total = done, self._total if total is None else total
        now_s = time.monotonic()
        if self._start is None:
            # What came before, and the time until then, say nothing of the speed.
            self._start, self._shown_s = (now_s, done), now_s
        if not self._bar.disable:
            description = f"{self._description}, {note}" if note else self._description
            self._bar.update(self._task, description=description, completed=done, total=self._total)
        elif now_s - self._shown_s >= _LOG_PERIOD_S:
            self._shown_s = now_s
            rate = (done - self._start[1]) / (now_s - self._start[0])
            line = f"erfnet: {self._description}: {done} of {self._total}, {rate:.1f} per second"
            if rate > 0 and self._total is not None:
                line += f", {(self._total - done) / rate / 60:.1f} minutes left"
            print(f"{line}, {note}" if note else line, file=self._stream, flush=True)

    def advance(self) -> None:
        """Show that one more item is finished."""
        self.update(self._done + 1)


_Self = TypeVar("_Self", bound=Progress)


class BagProgress(Progress):
    """Show finished images over all bags."""

    def __init__(self, bags: int, stream: TextIO | None = None) -> None:
        super().__init__("Evaluating images" if bags == 1 else f"Evaluating images of {bags} bags", stream=stream)
        self._finished, self._totals = [0] * bags, [0] * bags

    def show(self, bag: int, done: int, total: int) -> None:
        """Show `done` of `total` images of a bag; bags that have not begun are taken to be as long as the others."""
        # An earlier run may have finished images of a bag that begins only now.
        if not self._totals[bag] and self._start is not None:
            self._start = (self._start[0], self._start[1] + done)
        self._finished[bag], self._totals[bag] = done, total
        begun = [count for count in self._totals if count]
        expected = round(sum(begun) * len(self._totals) / len(begun)) if begun else 0
        self.update(sum(self._finished), expected)


def tracked(items: Iterable[Item], total: int, description: str) -> Iterator[Item]:
    """Yield the items, and show how many of `total` are finished."""
    with Progress(description, total) as progress:
        for item in items:
            yield item
            progress.advance()
