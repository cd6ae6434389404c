"""Prefetching and background work: order, bounds and errors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import pytest

from erfnet_ros.core.pipelining import BackgroundWorker, Prefetcher

DEADLINE_S = 20


def test_items_come_in_order_from_another_thread() -> None:
    threads = set()

    def items() -> Iterator[int]:
        threads.add(threading.current_thread())
        yield from range(100)

    with Prefetcher(items, 3) as ahead:
        assert list(ahead) == list(range(100))
    assert threads.isdisjoint({threading.current_thread()})


def test_reading_stays_only_a_few_items_ahead() -> None:
    """Else a bag would be in memory before its first image is segmented."""
    read = threading.Semaphore(0)
    count = 0

    def items() -> Iterator[int]:
        nonlocal count
        for index in range(1000):
            count += 1
            read.release()
            yield index

    with Prefetcher(items, 3) as ahead:
        taken = iter(ahead)
        assert next(taken) == 0
        # One taken, three waiting, and one in the hand of the thread.
        for _ in range(5):
            assert read.acquire(timeout=DEADLINE_S)
        assert not read.acquire(timeout=0.2)
        assert count == 5


def test_an_error_of_the_reader_is_raised_where_items_are_taken_and_a_reader_that_is_left_early_ends() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    with Prefetcher(items, 3) as ahead:
        taken = iter(ahead)
        assert next(taken) == 1
        with pytest.raises(ValueError, match="broken"):
            next(taken)
    with Prefetcher(lambda: iter(range(1000)), 2) as ahead:
        next(iter(ahead))
    assert not [thread for thread in threading.enumerate() if thread.name == "erfnet-read"]


def test_work_is_done_in_order_before_the_block_ends() -> None:
    done: list[int] = []
    with BackgroundWorker(lambda: nullcontext(done.append), 2) as behind:
        for index in range(50):
            behind.put(index)
    assert done == list(range(50))


def failing_work(item: int) -> None:
    raise ValueError(f"item {item}")


def failing_context() -> nullcontext[Callable[[int], None]]:
    raise ValueError("no disk")


@pytest.mark.parametrize(
    ("work", "items", "error"),
    [
        (lambda: nullcontext(failing_work), 50, "item 0"),
        (lambda: nullcontext(failing_work), 1, "item 0"),
        (failing_context, 20, "no disk"),
    ],
    ids=["work", "last work", "context"],
)
def test_an_error_in_the_thread_reaches_the_producer_and_nothing_hangs(
    work: Callable[[], nullcontext[Callable[[int], None]]], items: int, error: str
) -> None:
    def put_all() -> None:
        with BackgroundWorker(work, 1) as behind:
            for index in range(items):
                behind.put(index)

    with pytest.raises(ValueError, match=error):
        put_all()


def test_after_an_error_of_the_block_waiting_work_is_left() -> None:
    """Ctrl-C must not first score all that waits."""
    may_go, done = threading.Event(), []

    def work(item: int) -> None:
        assert may_go.wait(DEADLINE_S)
        done.append(item)

    def interrupted() -> None:
        with BackgroundWorker(lambda: nullcontext(work), 5) as behind:
            for index in range(4):
                behind.put(index)
            threading.Timer(0.05, may_go.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(done) <= 1


@pytest.mark.parametrize("fails", ["block", "work", "nothing"])
def test_what_the_work_opens_is_opened_and_closed_in_its_thread_and_told_of_errors(fails: str) -> None:
    """SQLite's files know one thread only, and half an output bag must not look like a whole one."""
    told: list[tuple[str, str]] = []

    @contextmanager
    def opened() -> Iterator[Callable[[int], None]]:
        told.append(("opened", threading.current_thread().name))
        try:
            yield work
        except BaseException:
            told.append(("aborted", threading.current_thread().name))
            raise
        told.append(("closed", threading.current_thread().name))

    def work(item: int) -> None:
        if fails == "work":
            raise ValueError("broken")

    def run() -> None:
        with BackgroundWorker(opened, 1) as behind:
            behind.put(1)
            if fails == "block":
                raise ValueError("broken")

    if fails == "nothing":
        run()
    else:
        with pytest.raises(ValueError, match="broken"):
            run()
    assert told == [("opened", "erfnet-score"), ("closed" if fails == "nothing" else "aborted", "erfnet-score")]
