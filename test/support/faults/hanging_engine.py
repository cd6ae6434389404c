"""An engine that hangs: PyTorch on the CPU until an image is of one color, then a call that never returns."""

from __future__ import annotations

import ctypes
import os

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.inference.engine import EngineRequest, preparation
from erfnet_ros.inference.pytorch.engine import PyTorchEngine

WAIT, WAIT_WITH_LOCK, PREPARE = 201, 202, 203
"""Gray levels of images at which it waits without and with Python's lock, and prepares itself for `PREPARATION_S`."""

PREPARATION_S = 6.0

HANGS = "The engine hangs from here on."
"""Written to the log."""


class HangingEngine(PyTorchEngine):
    """See `erfnet_ros.inference.engine.Engine`."""

    name = "hanging"

    def __init__(self, request: EngineRequest) -> None:
        super().__init__(request)
        self._never, self._write_end = os.pipe()

    def __call__(self, images: Pixels) -> tuple[Pixels, Pixels]:
        """Answer as PyTorch does, or hang."""
        level = int(images[0, 0, 0, 0]) if images.min() == images.max() else 0
        if level in (WAIT, WAIT_WITH_LOCK):
            print(HANGS, flush=True)
        if level == WAIT:
            os.read(self._never, 1)
        elif level == WAIT_WITH_LOCK:
            ctypes.PyDLL(None).pause()
        elif level == PREPARE:
            with preparation():
                os.sched_yield()
                ctypes.CDLL(None).usleep(int(1e6 * PREPARATION_S))
        return super().__call__(images)
