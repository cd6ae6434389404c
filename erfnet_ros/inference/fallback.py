"""Fallback engines: when an engine on a GPU fails while it runs, the next one takes over, with a note."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import EngineError
from erfnet_ros.inference.engine import Engine, preparation, run_one_by_one
from erfnet_ros.inference.pytorch.cuda import close_safely


class FallbackEngine:
    """See `erfnet_ros.inference.engine.Engine`.

    Where the engine fails with several images, they are tried one by one first.

    Args:
        engine: Runs until it raises EngineError.
        fallbacks: Open the engines that take over, one after the other; an error of the last one is raised.
        failure: Why `engine` is itself one that takes over.

    Attributes:
        failure: Why another engine than the wanted one runs; "" where the wanted one does.
    """

    def __init__(self, engine: Engine, fallbacks: Iterable[Callable[[], Engine]], failure: str = "") -> None:
        self._engine = engine
        self._fallbacks = list(fallbacks)
        self.failure = failure
        self._earlier: tuple[str, ...] = (failure,) if failure else ()
        self._one_by_one: set[tuple[int, ...]] = set()
        self._describe()

    def __call__(self, images: Pixels) -> tuple[Pixels, Pixels]:
        """See `erfnet_ros.inference.engine.Engine`."""
        while True:
            try:
                answer = self._answer(images)
            except EngineError as error:
                if not self._fallbacks:
                    raise
                reason = str(error)
            else:
                # An engine may add notes when images of another size come.
                self._describe()
                return answer
            # Outside of the except block: the error's traceback would keep the failed engine's memory.
            self._hand_over(reason)

    def close(self) -> None:
        """See `erfnet_ros.inference.engine.Engine`."""
        self._engine.close()

    def _answer(self, images: Pixels) -> tuple[Pixels, Pixels]:
        if len(images) > 1 and images.shape not in self._one_by_one:
            try:
                return self._engine(images)
            except EngineError as error:
                reason = str(error)
            answer = run_one_by_one(self._engine, images)
            self._one_by_one.add(images.shape)
            height, width = images.shape[1:3]
            self._earlier += (
                f"{len(images)} images of {width}x{height} run one after the other; together they failed: {reason}",
            )
            return answer
        return run_one_by_one(self._engine, images)

    def _hand_over(self, reason: str) -> None:
        """Replace the engine by the next one that opens; raise the EngineError of the last one."""
        failed = self._engine
        engine = None
        while engine is None:
            open_next = self._fallbacks.pop(0)
            try:
                with preparation():
                    engine = open_next()
            except EngineError as error:
                if not self._fallbacks:
                    raise
                reason = f"{reason} {error}"
        self.failure = (
            f"{failed.name} on {failed.device} failed, so {engine.name} on {engine.device} takes over, slower. {reason}"
        )
        self._earlier += (*failed.notes, self.failure)
        self._engine = engine
        self._one_by_one.clear()
        close_safely(failed)

    def _describe(self) -> None:
        engine = self._engine
        self.name, self.device, self.precision = engine.name, engine.device, engine.precision
        # The latest failure comes last.
        self.notes = (*engine.notes, *self._earlier)
