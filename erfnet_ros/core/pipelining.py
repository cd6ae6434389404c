"""Prefetching and background work on threads, both with a bounded queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from queue import Empty, Queue
from threading import Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class _End:
    """The last item of a queue, with the error that ended it, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class Prefetcher(Generic[T]):
    """Run an iterator in a thread, a few items ahead of the consumer; a context manager, itself to be iterated over.

    Args:
        items: Makes the iterator; called in the thread, which alone touches what it opens. Its error is raised to the
            consumer.
        depth: Items that may wait, 1 or more.
    """

    def __init__(self, items: Callable[[], Iterator[T]], depth: int) -> None:
        self._items = items
        self._queue: Queue[T | _End] = Queue(depth)
        self._stopped = False
        self._thread = Thread(target=self._run, name="erfnet-read", daemon=True)

    def __enter__(self) -> Prefetcher[T]:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped = True
        while self._thread.is_alive():
            # The thread may be waiting for a place in the queue.
            try:
                self._queue.get(timeout=0.05)
            except Empty:
                continue

    def __iter__(self) -> Iterator[T]:
        while not isinstance(item := self._queue.get(), _End):
            yield item
        if item.error is not None:
            raise item.error

    def _run(self) -> None:
        end = _End()
        try:
            for item in self._items():
                if self._stopped:
                    return
                self._queue.put(item)
        except BaseException as error:
            end = _End(error)
        self._queue.put(end)


class StoppedError(Exception):
    """Ends the work in the thread as an error does, because the producer has one."""


class BackgroundWorker(Generic[T]):
    """Process items in a thread, in the order in which they are put; an error of the work is raised to the producer.

    As a context manager it ends when all work is done, or at once where the block ends with an error.

    Args:
        work: Makes a context that gives what is called with each item; entered, used and left in the thread, which
            alone touches what it opens. It is left with an error where the block or the work has one.
        depth: Items that may wait, 1 or more.
    """

    def __init__(self, work: Callable[[], AbstractContextManager[Callable[[T], None]]], depth: int) -> None:
        self._work = work
        self._queue: Queue[T | _End] = Queue(depth)
        self._error: BaseException | None = None
        self._stopped = False
        self._thread = Thread(target=self._run, name="erfnet-score", daemon=True)

    def __enter__(self) -> BackgroundWorker[T]:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._stopped = error is not None
        self._queue.put(_End())
        self._thread.join()
        if error is None and self._error is not None:
            raise self._error

    def put(self, item: T) -> None:
        """Hand an item over; waits while too many wait already."""
        if self._error is not None:
            raise self._error
        self._queue.put(item)

    def _run(self) -> None:
        item: T | _End | None = None
        try:
            with self._work() as work:
                while not isinstance(item := self._queue.get(), _End) and not self._stopped:
                    work(item)
                if self._stopped:
                    raise StoppedError
        except StoppedError:
            pass
        except BaseException as error:
            self._error = error
        while not isinstance(item, _End):
            # The producer may be waiting for a place in the queue.
            item = self._queue.get()
