"""An engine on a GPU that hands over to the CPU when the GPU fails: frames go on, slower, and it is said why."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from erfnet_ros.engines.contract import Engine
from erfnet_ros.errors import EngineError

log = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]


class WithStandby:
    """See `erfnet_ros.engines.Engine`.

    Args:
        engine: What runs until it raises EngineError in the middle of its work.
        standby: Opens what runs from then on; its errors are its own.
    """

    def __init__(self, engine: Engine, standby: Callable[[], Engine]) -> None:
        self._engine = engine
        self._standby: Callable[[], Engine] | None = standby
        self.name, self.device, self.precision, self.notes = engine.name, engine.device, engine.precision, engine.notes
        self._earlier: tuple[str, ...] = ()

    def __call__(self, images: Pixels) -> tuple[Pixels, Pixels]:
        """See `erfnet_ros.engines.Engine`."""
        try:
            answer = self._engine(images)
        except EngineError as error:
            if self._standby is None:
                raise
            self._hand_over(error, self._standby())
            answer = self._engine(images)
        # An engine has more to say when images of another size come.
        self.notes = (*self._earlier, *self._engine.notes)
        return answer

    def close(self) -> None:
        """Free the memory."""
        self._engine.close()

    def _hand_over(self, error: EngineError, engine: Engine) -> None:
        failed = self._engine
        note = (
            f"{failed.name} on {failed.device} failed, so {engine.name} on {engine.device} goes on, slower; clean up "
            f"and configure the node to go back. {error}"
        )
        log.warning(note)
        self._engine, self._standby = engine, None
        self.name, self.device, self.precision = engine.name, engine.device, engine.precision
        self._earlier = (*failed.notes, note)
        try:
            failed.close()
        except (EngineError, RuntimeError) as fault:
            # A GPU that is gone cannot free its memory either.
            log.info("%s on %s could not be closed: %s", failed.name, failed.device, fault)
