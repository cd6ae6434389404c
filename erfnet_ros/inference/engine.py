"""What an engine is: uint8 images in, uint8 labels and confidence out."""

from __future__ import annotations

from typing import Protocol

from erfnet_ros.core.array_types import Pixels


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


ENGINES = ("auto", "pytorch", "onnxruntime", "tensorrt")


DEVICES = "auto, cpu, cuda or cuda:N"


FLOATS = ("auto", "fp32", "fp16", "bf16")


PRECISIONS = (*FLOATS, "int8")
