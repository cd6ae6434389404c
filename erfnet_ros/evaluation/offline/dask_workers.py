"""Execution of evaluation jobs: in this process, in parallel processes, or on an existing Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from queue import Empty
from typing import TYPE_CHECKING, Any

from erfnet_ros.core.errors import ErfnetError, EvaluationError

if TYPE_CHECKING:
    # Dask has no types, and PyTorch is slow to import.
    from erfnet_ros.evaluation.offline.job import Job, JobResult

Show = Callable[[int, int, int], None]
"""Called with the index of the bag, its finished images, and all its images."""

_POLL_S = 0.2
_CONNECT_S = 20

_progress: Any = None
"""In a worker process: the queue to which it reports progress."""


def run_here(jobs: Sequence[Job], show: Show) -> list[JobResult]:
    """Evaluate one bag after the other."""
    from erfnet_ros.evaluation.offline.job import run_job

    return [run_job(job, partial(show, place)) for place, job in enumerate(jobs)]


def run_processes(jobs: Sequence[Job], processes: int, show: Show) -> list[JobResult]:
    """Evaluate bags in processes of their own, which share this machine's cores evenly.

    Raises:
        ErfnetError: A bag failed, or a process was killed; finished bags are kept in their progress files.
    """
    processes = min(processes, len(jobs))
    threads = max(1, (os.cpu_count() or 1) // processes)
    context = multiprocessing.get_context("spawn")
    progress = context.Queue()
    with ProcessPoolExecutor(processes, context, _begin, (progress,)) as pool:
        # Started to ignore Ctrl-C, which the terminal sends to all: this process ends them, so that they save first.
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            futures = [pool.submit(_run_numbered, n, replace(job, threads=threads)) for n, job in enumerate(jobs)]
        finally:
            signal.signal(signal.SIGINT, handler)
        try:
            _wait(futures, progress, show)
            return [future.result() for future in futures]
        except BrokenProcessPool as error:
            raise EvaluationError(
                "Expected every process to finish its bags, but one was killed (is there enough memory?); run again "
                "with a smaller --jobs: it resumes from the saved progress."
            ) from error
        except BaseException:
            for child in multiprocessing.active_children():
                child.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def run_on_dask(jobs: Sequence[Job], address: str, show: Show) -> list[JobResult]:
    """Evaluate bags on the workers of a Dask cluster; bags and output folder must be on a disk that they share."""
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise EvaluationError("--dask needs Dask: pip install 'erfnet_ros[fleet]', or 'distributed'.") from error
    from erfnet_ros.evaluation.offline.job import run_job

    try:
        client = Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise EvaluationError(f"Expected a Dask scheduler at '{address}', got: {error}; check the address.") from error
    # `as_completed` asks for the current client.
    with client, client.as_current():
        if not client.scheduler_info()["workers"]:
            raise EvaluationError(f"Expected workers on the Dask cluster at '{address}', got none; start some.")
        futures = client.map(run_job, jobs, pure=False)
        places = {future.key: place for place, future in enumerate(futures)}
        try:
            for future in as_completed(futures):
                total = future.result().scan.metadata.frames
                show(places[future.key], total, total)
            return list(client.gather(futures))
        except ErfnetError:
            raise
        except Exception as error:
            # Whatever a worker raises arrives as it is: it may lack this package, or be of another version.
            raise EvaluationError(
                f"A worker of the Dask cluster at '{address}' failed ({type(error).__name__}: {error}); does it have "
                "erfnet_ros of this version, and see the bags?"
            ) from error
        finally:
            client.cancel(futures)


def _begin(progress: Any) -> None:
    global _progress
    _progress = progress
    # As an exception, the signal lets the job save its progress.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def _run_numbered(place: int, job: Job) -> JobResult:
    from erfnet_ros.evaluation.offline.job import run_job

    return run_job(job, lambda done, total: _progress.put((place, done, total)))


def _wait(futures: Sequence[Future[JobResult]], progress: Any, show: Show) -> None:
    """Wait until all are done or one has failed, and show the progress meanwhile."""
    waiting = set(futures)
    while waiting:
        done, waiting = wait(waiting, _POLL_S, FIRST_COMPLETED)
        while True:
            try:
                show(*progress.get_nowait())
            except Empty:
                break
        for future in done:
            future.result()
