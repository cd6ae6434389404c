"""Who runs the Pipeline. An engine's contract: uint8 images in, uint8 labels and confidence out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from erfnet_ros.engines.names import ENGINES
from erfnet_ros.errors import EngineError

if TYPE_CHECKING:
    # Launch files read the engines' names, and must not wait for torch.
    from erfnet_ros.checkpoint import Checkpoint

Pixels = npt.NDArray[np.uint8]


class Engine(Protocol):
    """One loaded network on one device.

    Attributes:
        name: One of `ENGINES`, never auto.
        device: "cpu" or "cuda:N".
        precision: One of `PRECISIONS`, never auto.
        notes: What was chosen for want of something better, a sentence each.
    """

    name: str
    device: str
    precision: str
    notes: tuple[str, ...]

    def __call__(self, images: Pixels) -> tuple[Pixels, Pixels]:
        """Return labels and confidences, (N, H, W) uint8 each, of C-contiguous (N, H, W, 3) uint8 RGB images.

        The arrays belong to the caller: no later call writes into them.

        Raises:
            EngineError: The device ran out of memory, or is gone.
        """
        ...

    def close(self) -> None:
        """Free the memory; the engine must not be called again."""
        ...


def open_engine(
    checkpoint: Checkpoint,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    input_size: tuple[int, int] | None = None,
) -> Engine:
    """Load a checkpoint into an engine.

    Args:
        checkpoint: What to run.
        engine: One of `ENGINES`.
        device: auto (a GPU where there is one), cpu, cuda or cuda:N.
        precision: auto (the fastest that the device computes natively), fp32, fp16 or bf16.
        input_size: (width, height) that the network sees, or None to follow camera and training.

    Raises:
        EngineError: One of them is unknown or not to be had on this machine.
    """
    if engine not in ENGINES:
        raise EngineError(f"Expected engine to be one of {', '.join(ENGINES)}, got '{engine}'.")
    if engine == "onnxruntime":
        from erfnet_ros.engines.onnx import OnnxRuntimeEngine

        return OnnxRuntimeEngine(checkpoint, device, precision, input_size)
    from erfnet_ros.engines.pytorch import PyTorchEngine

    return PyTorchEngine(checkpoint, device, precision, input_size)
