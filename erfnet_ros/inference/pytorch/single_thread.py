"""One thread for all of PyTorch's work on the CPU, whoever asks for it.

OpenMP keeps a team of threads for every thread that computes. As soon as all teams together outnumber the processors,
GNU's library lets each thread sleep between two layers in place of waiting awake, and ERFNet has a hundred layers: on
two cores an image took 44 to 57 ms from a node's callback threads, and 35 ms from one thread that is always the same.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Result = TypeVar("Result")

_NAME = "erfnet_engine"

_thread: ThreadPoolExecutor | None = None


def on_single_thread(work: Callable[..., Result], *arguments: object) -> Result:
    """Return what `work(*arguments)` returns, computed on that thread with as many helpers as the caller's PyTorch has.

    What it raises passes through.
    """
    global _thread
    if threading.current_thread().name.startswith(_NAME):
        return work(*arguments)
    if _thread is None:
        _thread = ThreadPoolExecutor(1, _NAME)
    return _thread.submit(_with_threads, torch.get_num_threads(), work, arguments).result()


def _with_threads(count: int, work: Callable[..., Result], arguments: tuple[object, ...]) -> Result:
    # The number of threads is a thread's own setting.
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
    return work(*arguments)


def _forget() -> None:
    global _thread
    _thread = None


# A forked process has the executor, but not its thread.
os.register_at_fork(after_in_child=_forget)
