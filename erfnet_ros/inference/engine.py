"""Inference engine interface, and the request that every engine is opened with."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import EngineError

if TYPE_CHECKING:
    # Launch files and --help read the words below, and must not wait for torch.
    import torch

    from erfnet_ros.models.checkpoint import Checkpoint

log = logging.getLogger(__name__)

Run = Callable[[Pixels], tuple[Pixels, Pixels]]
"""Takes (N, H, W, 3) uint8 images, returns labels and confidences, as an `Engine` does."""

DEVICES = "auto, cpu, cuda or cuda:N"

FLOATS = ("auto", "fp32", "fp16", "bf16")

PRECISIONS = (*FLOATS, "int8")


@dataclass(frozen=True)
class EngineRequest:
    """What an engine is opened for.

    Attributes:
        checkpoint: The network.
        device: auto (a GPU where there is one), cpu, cuda or cuda:N.
        precision: auto (the fastest that the device computes natively and that answers as fp32 does), or another of
            `PRECISIONS`.
        input_size: (width, height) that the network sees, or None to follow camera and training.
        live: Frames must not wait: an engine that takes minutes to build for their size is built in the background,
            and PyTorch answers until it is ready.

    Raises:
        EngineError: The precision is unknown.
    """

    checkpoint: Checkpoint
    device: str = "auto"
    precision: str = "auto"
    input_size: tuple[int, int] | None = None
    live: bool = False

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise EngineError(f"Expected precision to be one of {', '.join(PRECISIONS)}, got '{self.precision}'.")


class Engine(Protocol):
    """One loaded network on one device.

    Attributes:
        name: One of `factory.ENGINES`, never auto.
        device: "cpu" or "cuda:N".
        precision: One of `PRECISIONS`, never auto.
        notes: Where it runs otherwise than it could, why and what to do, a sentence each.
    """

    name: str
    device: str
    precision: str
    notes: tuple[str, ...]

    def __call__(self, images: Pixels) -> tuple[Pixels, Pixels]:
        """Return labels and confidences, (N, H, W) uint8 each, of (N, H, W, 3) uint8 RGB images of any strides.

        The arrays belong to the caller: no later call writes into them. Where the device ran out of memory, or is gone,
        EngineError is raised.
        """
        ...

    def close(self) -> None:
        """Free the memory; the engine must not be called again."""
        ...


@contextmanager
def optional_faults(name: str) -> Iterator[None]:
    """Turn whatever an optional engine raises into an EngineError; what PyTorch raises stays as it is."""
    try:
        yield
    except EngineError:
        raise
    except Exception as error:
        if name == "pytorch":
            raise
        log.debug("Engine %s failed.", name, exc_info=True)
        reason = str(error).partition("\n")[0]
        raise EngineError(
            f"Engine '{name}' does not work with the packages installed here ({type(error).__name__}: {reason}); "
            "update them, or set engine to pytorch."
        ) from error


_preparing: set[int] = set()
"""The threads that prepare an engine."""


@contextmanager
def preparation() -> Iterator[None]:
    """Mark that this thread opens, builds or compiles an engine, which may take minutes, and does not hang."""
    thread = threading.get_ident()
    outermost = thread not in _preparing
    _preparing.add(thread)
    try:
        yield
    finally:
        if outermost:
            _preparing.discard(thread)


def is_preparing(thread: int) -> bool:
    """Return whether a thread (`threading.get_ident()`) is inside `preparation`."""
    return thread in _preparing


def run_one_by_one(run: Run, images: Pixels) -> tuple[Pixels, Pixels]:
    """Return what `run` returns for the images together, but run it with each of them alone."""
    if len(images) == 1:
        return run(images)
    labels, confidences = zip(*(run(images[n : n + 1]) for n in range(len(images))), strict=True)
    return np.concatenate(labels), np.concatenate(confidences)


class EngineType(Protocol):
    """The class of an engine, as `factory` names it.

    Attributes:
        distributions: The pip packages that it computes with.
        computes_with_onednn: Whether oneDNN's switch for older instruction sets (ONEDNN_MAX_CPU_ISA) applies to it.
    """

    distributions: ClassVar[tuple[str, ...]]
    computes_with_onednn: ClassVar[bool]

    def __call__(self, request: EngineRequest) -> Engine:
        """Open the engine; raise EngineError, which says what is missing, where it does not run here."""
        ...

    def is_candidate(self, request: EngineRequest, device: torch.device) -> bool:
        """Tell whether it is installed and may be faster than PyTorch, so that `auto` should measure it."""
        ...
