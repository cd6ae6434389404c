"""Work of minutes beside a stream of frames, which goes on meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from erfnet_ros.core.errors import EngineError
from erfnet_ros.inference.tensorrt.progress import Progress

Result = TypeVar("Result")


class BackgroundBuild(Generic[Result]):
    """Run work on a thread of its own, which neither keeps the process alive nor is waited for.

    Args:
        work: Given what it must tell its progress to; once stopped, that raises, and the work ends there.
        progress: Told the share that is done, 0..1.
    """

    def __init__(self, work: Callable[[Progress], Result], progress: Progress) -> None:
        self._work, self._progress = work, progress
        self._stopped = threading.Event()
        self._future: Future[Result] = Future()
        threading.Thread(target=self._run, name="erfnet_beside", daemon=True).start()

    @property
    def done(self) -> bool:
        """Whether `result` has something to say."""
        return self._future.done()

    def result(self) -> Result:
        """Return what the work returned, once it is done.

        Raises:
            EngineError: The work failed.
        """
        try:
            return self._future.result()
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(f"Internal error, {type(error).__name__}: {error}; please report it.") from error

    def stop(self) -> None:
        """Let the work end at its next step, without waiting for it."""
        self._stopped.set()

    def _run(self) -> None:
        try:
            self._future.set_result(self._work(self._tell))
        except BaseException as error:  # the thread's only way to tell
            self._future.set_exception(error)

    def _tell(self, done: float) -> None:
        if self._stopped.is_set():
            raise EngineError("Nobody wants it any more.")
        self._progress(done)
