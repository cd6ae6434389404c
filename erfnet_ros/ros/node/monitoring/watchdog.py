"""Watchdog of the engine: ends the process when a call of the engine does not return."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from erfnet_ros.inference.engine import is_preparing
from erfnet_ros.ros.transport import remove_own_segments

EXIT_CODE = os.EX_TEMPFAIL
"""75, of sysexits.h: a supervisor should start the process again."""

_PERIOD_S = 0.25

_LONGEST_STEP_S = 1.0
"""Counted of a longer time between two looks, in which the process itself was stopped."""

EngineCall = tuple[int, float]
"""Thread (`threading.get_ident()`) that calls the engine, and since when."""


class EngineWatchdog:
    """Ends the process with `EXIT_CODE` when a call of the engine takes longer than `timeout_s`.

    A thread that waits for a driver cannot be ended. Where it keeps Python's lock as well, no thread of Python can
    notice: a timer of the kernel, which is set anew all the time, then ends the process by SIGALRM.

    Args:
        timeout_s: Limit; the preparation of an engine does not count. 0 is no limit.
        running: Returns the call in progress, or None.
        report: Says, within a second or two, that the engine has not returned for so many seconds.
    """

    def __init__(
        self, timeout_s: float, running: Callable[[], EngineCall | None], report: Callable[[float], None]
    ) -> None:
        self._timeout_s, self._running, self._report = timeout_s, running, report
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        if timeout_s:
            if sys.__stderr__ is not None:
                # Writes where each thread stands, without Python's lock, before the signal ends the process.
                faulthandler.register(signal.SIGALRM, file=sys.__stderr__, chain=True)
            # The first image may hang before the thread has its turn.
            self._set_timer()
            self._thread.start()

    def close(self) -> None:
        """Watch no more."""
        self._closed.set()
        if self._thread.ident:
            self._thread.join()

    def _watch(self) -> None:
        waited_s, last, last_s = 0.0, None, time.monotonic()
        while not self._closed.wait(_PERIOD_S):
            self._set_timer()
            call, now_s = self._running(), time.monotonic()
            if call is None or call != last or is_preparing(call[0]):
                waited_s = 0.0
            else:
                waited_s += min(now_s - last_s, _LONGEST_STEP_S)
            last, last_s = call, now_s
            if waited_s >= self._timeout_s:
                self._end_process(waited_s)
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.unregister(signal.SIGALRM)

    def _set_timer(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 2 * self._timeout_s + _LONGEST_STEP_S)

    def _end_process(self, waited_s: float) -> None:
        try:
            self._report(waited_s)
            if sys.__stderr__ is not None:
                faulthandler.dump_traceback(sys.__stderr__)
            remove_own_segments()
        finally:
            os._exit(EXIT_CODE)
