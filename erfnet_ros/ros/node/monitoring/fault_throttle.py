"""Throttle of repeated log lines about faults, and the text of a rejected frame."""

from __future__ import annotations

import time
import traceback

from erfnet_ros.core.errors import ErfnetError
from erfnet_ros.core.printable_text import printable


class FaultThrottle:
    """Lets each kind of fault be logged once in `period_s` seconds, whatever numbers and names its text holds."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._logged_s: dict[object, float] = {}

    def is_due(self, kind: object) -> bool:
        """Return whether a kind was not logged in the last period; it is taken to be logged now.

        The kind of an exception is the place where it was raised.
        """
        if isinstance(kind, Exception):
            *_, (frame, line) = traceback.walk_tb(kind.__traceback__)
            kind = (frame.f_code, line)
        now_s = time.monotonic()
        due = now_s - self._logged_s.get(kind, float("-inf")) >= self._period_s
        if due:
            self._logged_s[kind] = now_s
        return due


def rejection_reason(error: Exception) -> str:
    """Return why a frame was rejected, for log and diagnostics."""
    if isinstance(error, ErfnetError):
        return str(error)
    return f"Internal error, {type(error).__name__}: {printable(error, 300)}; please report it."
