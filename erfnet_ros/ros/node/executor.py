"""Threads for the node's callbacks, each callback handed to them once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from rclpy.context import Context
from rclpy.executors import MultiThreadedExecutor

_LOOK_UP_S = 0.1
"""How soon a loop that waits for a free thread notices that the executor is shut down."""


class OncePool(ThreadPoolExecutor):
    """A pool that takes a task once until a thread has begun it, and makes whoever hands it in again wait for that."""

    def __init__(self, max_workers: int) -> None:
        super().__init__(max_workers)
        self._waiting: dict[Callable[..., Any], threading.Event] = {}
        self._waiting_lock = threading.Lock()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Hand a task in; a task that waits already stays where it is, and an empty future is returned."""
        with self._waiting_lock:
            begun = self._waiting.get(fn)
            known = begun is not None
            if begun is None:
                begun = self._waiting[fn] = threading.Event()
        if known:
            begun.wait(_LOOK_UP_S)
            return Future()
        return super().submit(self._begin, fn, begun, *args, **kwargs)

    def _begin(self, fn: Callable[..., Any], begun: threading.Event, *args: Any, **kwargs: Any) -> Any:
        with self._waiting_lock:
            del self._waiting[fn]
        begun.set()
        return fn(*args, **kwargs)


class NodeExecutor(MultiThreadedExecutor):
    """rclpy's executor without its storm of tasks.

    rclpy's spin hands out each task that no thread has begun yet again in every round. With Fast DDS a message that
    nobody has taken yet makes each round end at once, for it wakes whoever waits for the subscription's events. So
    thousands of copies of one task fill the pool and the interpreter, and its thread gets to it as much as a second
    later (rclpy 9.1.2, rmw_fastrtps_cpp 9.3.3): a camera faster than the engine is enough.

    Args:
        num_threads: Callbacks that may run at once, 2 or more.
        context: Whose shutdown ends it; None is the process's own.
    """

    def __init__(self, num_threads: int, context: Context | None = None) -> None:
        super().__init__(num_threads, context=context)
        self._executor: ThreadPoolExecutor = OncePool(num_threads)
