"""Workarounds for rclpy, and the only use of its private attributes.

Each says with which versions it was run and when it can go.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from rclpy.context import Context
from rclpy.executors import MultiThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.subscription import Subscription

try:
    from rclpy.event_handler import SubscriptionEventCallbacks as SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks as SubscriptionEventCallbacks

MessageInfo = Mapping[str, Any]
"""Empty, or without sequence numbers, where rclpy does not pass them on."""

_FREE_THREAD_CHECK_S = 0.1
"""How soon a loop that waits for a free thread notices that the executor is shut down."""


def with_message_info(callback: Callable[[Any, MessageInfo], None]) -> Callable[..., None]:
    """Return a subscription callback that works whether or not rclpy passes the message info.

    Iron and later inspect the signature and pass both arguments (ros2/rclpy#922); Humble (rclpy 3.3) always passes the
    message alone. Can go with support for Humble.
    """

    def receive(message: Any, info: MessageInfo | None = None) -> None:
        callback(message, info or {})

    # With the default in its signature, rclpy of Iron and later would take it for a callback of the message alone.
    receive.__signature__ = inspect.signature(callback)  # type: ignore[attr-defined]
    return receive


def take_waiting(subscription: Subscription[Any]) -> tuple[Any, MessageInfo] | None:
    """Take the message that waits in a subscription's reader; None where there is none or it was just destroyed.

    rclpy has no public way to take a message outside its executor; this can go with one.
    Run with rclpy 9.1.2 (Kilted) and 7.1.6 (Jazzy).
    """
    try:
        with subscription.handle:
            return subscription.handle.take_message(subscription.msg_type, subscription.raw)
    except rclpy_implementation.InvalidHandle:
        return None


def parameter_overrides(node: Node) -> tuple[str, ...]:
    """Return the names of all parameters set on the command line or in a file, declared or not.

    `automatically_declare_parameters_from_overrides` would declare misspelled ones; this can go
    with an option that does not. Run with rclpy 9.1.2 (Kilted) and 7.1.6 (Jazzy).
    """
    return tuple(sorted(node._parameter_overrides))


class SubmitOncePool(ThreadPoolExecutor):
    """A thread pool that queues a task once until a thread has begun it; submitting it again waits for that."""

    def __init__(self, max_workers: int) -> None:
        super().__init__(max_workers)
        self._queued: dict[Callable[..., Any], threading.Event] = {}
        self._queued_lock = threading.Lock()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queue a task; a task that is queued already stays where it is, and an empty future is returned."""
        with self._queued_lock:
            begun = self._queued.get(fn)
            if begun is None:
                begun = self._queued[fn] = threading.Event()
                return super().submit(self._begin, fn, begun, *args, **kwargs)
        begun.wait(_FREE_THREAD_CHECK_S)
        return Future()

    def _begin(self, fn: Callable[..., Any], begun: threading.Event, *args: Any, **kwargs: Any) -> Any:
        with self._queued_lock:
            del self._queued[fn]
        begun.set()
        return fn(*args, **kwargs)


class NodeExecutor(MultiThreadedExecutor):
    """A MultiThreadedExecutor that does not submit the same task again and again.

    rclpy's spin submits each task that no thread has begun yet again in every round, and with Fast DDS a message that
    was not taken yet makes each round end at once. Thousands of copies of one task then fill the pool, and a callback
    starts as much as a second late: a camera faster than the engine is enough. Reported as ros2/rclpy#1452 and fixed
    by #1547 in rclpy 10.0.4; this can go when every supported distribution has the fix.
    Run with rclpy 9.1.2 (Kilted) and 7.1.6 (Jazzy).

    Args:
        num_threads: Callbacks that may run at once, 2 or more.
        context: Whose shutdown ends it; None is the process's own.
    """

    def __init__(self, num_threads: int, context: Context | None = None) -> None:
        super().__init__(num_threads, context=context)
        self._executor: ThreadPoolExecutor = SubmitOncePool(num_threads)

    def shutdown(self, timeout_sec: float | None = None, **options: Any) -> bool:
        """Wait for the callbacks in progress, drop those that have not begun, and free everything.

        rclpy frees what callbacks use before it waits for them, and Humble's does not wait.
        Run with rclpy 9.1.2 (Kilted) and 7.1.6 (Jazzy).
        """
        self._executor.shutdown(cancel_futures=True)
        return super().shutdown(timeout_sec, **options)
