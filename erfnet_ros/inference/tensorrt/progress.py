"""Progress of a TensorRT build."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

Progress = Callable[[float], None]
"""Told the share that is done, 0..1, never less than before; it may be called from any thread."""

_LOG_PERIOD_S = 10.0


@dataclass
class _Phase:
    """A part of the work, which may have parts of its own."""

    parent: str | None
    steps: int
    done: int = 0


def new_monitor(api: Any, progress: Progress) -> Any:
    """Return an `api.IProgressMonitor` that tells `progress`; its `interruption` is what must be raised afterwards.

    TensorRT prints what a callback raises and goes on building. So a Ctrl-C that is raised in a callback is kept, and
    stops the build at its next step.
    """

    class Monitor(api.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            api.IProgressMonitor.__init__(self)
            self.interruption: BaseException | None = None
            self._shares = Shares()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._tell(lambda: self._shares.start(phase_name, parent_phase, num_steps))

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(lambda: self._shares.step(phase_name, step))
            return self.interruption is None

        def phase_finish(self, phase_name: str) -> None:
            self._tell(lambda: self._shares.finish(phase_name))

        def _tell(self, change: Callable[[], None]) -> None:
            try:
                change()
                progress(self._shares.done)
            except BaseException as error:  # raised again by whoever started the build
                self.interruption = self.interruption or error

    return Monitor()


class Shares:
    """Phases within phases, as one share of the whole."""

    def __init__(self) -> None:
        self._phases: dict[str, _Phase] = {}
        self._outermost: str | None = None
        self.done = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """Begin a phase; `parent` is None for the outermost, whose share of the whole is all of it."""
        if self._outermost is None:
            self._outermost = name
        self._phases[name] = _Phase(parent, max(1, steps))

    def step(self, name: str, index: int) -> None:
        """End step `index` (from 0) of a phase."""
        if phase := self._phases.get(name):
            phase.done = max(phase.done, index + 1)
            self._update()

    def finish(self, name: str) -> None:
        """End a phase, which is one step of its parent unless the parent has counted it."""
        if name == self._outermost:
            self.done = 1.0
        self._phases.pop(name, None)

    def _update(self) -> None:
        if self._outermost in self._phases:
            self.done = max(self.done, self._share(self._outermost))

    def _share(self, name: str) -> float:
        phase = self._phases[name]
        within = [self._share(inner) for inner, other in self._phases.items() if other.parent == name]
        return min(1.0, (phase.done + max(within, default=0.0)) / phase.steps)


def log_progress(what: str) -> Progress:
    """Return a progress that logs how far `what` is, every ten seconds."""
    last = time.monotonic()

    def tell(done: float) -> None:
        nonlocal last
        if time.monotonic() - last >= _LOG_PERIOD_S:
            last = time.monotonic()
            log.info("%s: %.0f %%", what, 100 * done)

    return tell
