"""The segmentation node with an engine that fails: `python -m support.faults.broken_engine --ros-args ...`."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import EngineError
from erfnet_ros.inference import segmenter
from erfnet_ros.inference.engine import Engine, EngineRequest
from erfnet_ros.ros.node.__main__ import main

Answer = tuple[Pixels, Pixels]


def _raise(answer: Answer) -> Answer:
    raise EngineError("The device is gone.")


def _crash(answer: Answer) -> Answer:
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


FAULTS: dict[str, Callable[[Answer], Answer]] = {
    "raises": _raise,
    "raises what it likes": _crash,
    "unknown labels": lambda answer: (np.full_like(answer[0], 200), answer[1]),
    "not a number": lambda answer: (np.zeros_like(answer[0]), np.zeros_like(answer[1])),
    "another size": lambda answer: (answer[0][:, 1:], answer[1][:, 1:]),
    "another type": lambda answer: (answer[0].astype(np.float32), answer[1]),
    "nothing": lambda answer: (answer[0][:0], answer[1][:0]),
}
"""What becomes of the right answer."""

EVERY = 10
"""Of so many frames one fails."""


class BrokenEngine:
    """An engine of which every tenth answer is broken, each time in another way."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._numbers, self._faults = engine, itertools.count(1), itertools.cycle(FAULTS.values())

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    def __call__(self, images: Pixels) -> Answer:
        """Answer, or fail."""
        answer = self._engine(images)
        return answer if next(self._numbers) % EVERY else next(self._faults)(answer)


if __name__ == "__main__":
    open_engine = segmenter.open_engine

    def open_broken(request: EngineRequest, engine: str = "auto") -> BrokenEngine:
        """Open the engine that was asked for, and break it."""
        return BrokenEngine(open_engine(request, engine))

    segmenter.open_engine = open_broken
    main()
