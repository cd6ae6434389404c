"""An engine on a GPU with successors: when it fails in mid-stream the next one goes on, and it is said why."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import EngineError
from erfnet_ros.inference.engine import Engine
from erfnet_ros.inference.pytorch.cuda import close_safely


class FallbackEngine:
    """See `erfnet_ros.inference.factory.Engine`.

    Args:
        engine: What runs until it raises EngineError in the middle of its work. Several images that it fails at are
            tried one by one first.
        fallbacks: Open what runs from then on, one after the other; the last one's errors are its own.
    """

    def __init__(self, engine: Engine, fallbacks: Iterable[Callable[[], Engine]]) -> None:
        self._engine = engine
        self._fallbacks = list(fallbacks)
        self._earlier: tuple[str, ...] = ()
        self._one_by_one: set[tuple[int, ...]] = set()
        self._describe()

    def __call__(self, images: Pixels) -> tuple[Pixels, Pixels]:
        """See `erfnet_ros.inference.factory.Engine`."""
        while True:
            try:
                answer = self._answer(images)
            except EngineError as error:
                if not self._fallbacks:
                    raise
                reason = str(error)
            else:
                # An engine has more to say when images of another size come.
                self.notes = self._all_notes()
                return answer
            # Here the error is forgotten, and with it what of the engine its traceback held.
            self._hand_over(reason)

    def close(self) -> None:
        """Free the memory."""
        self._engine.close()

    def _answer(self, images: Pixels) -> tuple[Pixels, Pixels]:
        if len(images) > 1 and images.shape not in self._one_by_one:
            try:
                return self._engine(images)
            except EngineError as error:
                reason = str(error)
            answer = self._each(images)
            self._one_by_one.add(images.shape)
            height, width = images.shape[1:3]
            self._earlier += (
                f"{len(images)} images of {width}x{height} run one after the other; together they failed: {reason}",
            )
            return answer
        return self._each(images)

    def _each(self, images: Pixels) -> tuple[Pixels, Pixels]:
        if len(images) == 1:
            return self._engine(images)
        labels, confidences = zip(*(self._engine(images[n : n + 1]) for n in range(len(images))), strict=True)
        return np.concatenate(labels), np.concatenate(confidences)

    def _hand_over(self, reason: str) -> None:
        """Let the next engine that opens take over.

        Raises:
            EngineError: The last one does not open.
        """
        failed = self._engine
        engine = None
        while engine is None:
            open_next = self._fallbacks.pop(0)
            try:
                engine = open_next()
            except EngineError as error:
                if not self._fallbacks:
                    raise
                reason = f"{reason} {error}"
        note = f"{failed.name} on {failed.device} failed, so {engine.name} on {engine.device} goes on, slower. {reason}"
        self._earlier += (*failed.notes, note)
        self._engine = engine
        self._one_by_one.clear()
        self._describe()
        close_safely(failed)

    def _describe(self) -> None:
        engine = self._engine
        self.name, self.device, self.precision = engine.name, engine.device, engine.precision
        self.notes = self._all_notes()

    def _all_notes(self) -> tuple[str, ...]:
        # What went wrong last comes last.
        return (*self._engine.notes, *self._earlier)
