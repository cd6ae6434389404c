"""Progress of a TensorRT build."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

Progress = Callable[[float], None]
"""Told the share that is done, 0..1, never less than before; it may be called from any thread."""

_LOG_PERIOD_S = 10.0


def new_monitor(api: Any, progress: Progress) -> Any:
    """Return an `api.IProgressMonitor` that tells `progress`; its `interruption` is what must be raised afterwards.

    TensorRT prints what a callback raises and goes on building. So a Ctrl-C that is raised in a callback is kept, and
    stops the build at its next step.
    """

    class Monitor(api.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            api.IProgressMonitor.__init__(self)
            self.interruption: BaseException | None = None
            # Number of steps and steps done of each phase; the outermost, whose share is the whole, comes first.
            self._phases: dict[str, tuple[int, int]] = {}
            self._told = 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._phases[phase_name] = max(1, num_steps), 0

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._phases:
                self._phases[phase_name] = self._phases[phase_name][0], step + 1
            self._tell()
            return self.interruption is None

        def phase_finish(self, phase_name: str) -> None:
            self._phases.pop(phase_name, None)
            self._tell()

        def _tell(self) -> None:
            share = 0.0 if self._phases else 1.0
            for steps, done in reversed(self._phases.values()):
                share = min(1.0, (done + share) / steps)
            self._told = max(self._told, share)
            try:
                progress(self._told)
            except BaseException as error:  # raised again by whoever started the build
                self.interruption = self.interruption or error

    return Monitor()


def log_progress(what: str) -> Progress:
    """Return a progress that logs how far `what` is, every ten seconds."""
    last = time.monotonic()

    def tell(done: float) -> None:
        nonlocal last
        if time.monotonic() - last >= _LOG_PERIOD_S:
            last = time.monotonic()
            log.info("%s: %.0f %%", what, 100 * done)

    return tell
