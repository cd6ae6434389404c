"""One line of progress, in place on a terminal, now and then elsewhere."""

from __future__ import annotations

import sys
import time

_TERMINAL_PERIOD_S = 0.2
_PLAIN_PERIOD_S = 5.0


class Progress:
    """Show frames in and out while they are played.

    Args:
        total: Frames that the source has.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._terminal = sys.stdout.isatty()
        self._period_s = _TERMINAL_PERIOD_S if self._terminal else _PLAIN_PERIOD_S
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
