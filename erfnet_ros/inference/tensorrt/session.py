"""A loaded TensorRT engine on one GPU."""

from __future__ import annotations

import torch
from torch import Tensor

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import EngineError
from erfnet_ros.inference.pytorch.cuda import GpuFrames
from erfnet_ros.inference.tensorrt.api import Backend
from erfnet_ros.models.onnx import export


class RefusedError(EngineError):
    """TensorRT does not load an engine: it is damaged, or this GPU is none that it was built for."""


class Session:
    """Run one engine for batches of one shape.

    Args:
        backend: Whose engine it is.
        plan: The serialized engine.
        shape: (N, H, W) of the images.
        device: The GPU.
        kernels: What `kernels` of an earlier session returned, or None.

    Raises:
        RefusedError: TensorRT does not load the engine.
        EngineError: The GPU has too little memory, or fails.
    """

    def __init__(
        self, backend: Backend, plan: bytes, shape: tuple[int, int, int], device: torch.device, kernels: bytes | None
    ) -> None:
        self._backend, self._device = backend, device
        self._frames = GpuFrames(shape, device)
        with self._frames.faults(), torch.cuda.device(device):
            self._runtime = backend.new("Runtime")
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            if self._engine is None:
                raise RefusedError(
                    f"{backend.title} does not load its engine on {torch.cuda.get_device_name(device)}: "
                    f"{backend.log.reason()}; set engine to auto."
                )
            self._context = backend.context(self._engine, kernels)
            if self._context.execution is None:
                raise self._failure("has no room for the engine's data")
            buffers = (self._frames.images, self._frames.labels, self._frames.confidences)
            for name, buffer in zip((export.INPUT, *export.OUTPUTS), buffers, strict=True):
                self._context.execution.set_tensor_address(name, buffer.data_ptr())
        self._frames.begin(self._work, self._capturable)

    @property
    def notes(self) -> tuple[str, ...]:
        """What went otherwise than usual, a sentence each."""
        return self._frames.notes

    @property
    def fitting(self) -> bool:
        """Whether the kernels given were of use."""
        return self._context.fitting

    def kernels(self) -> bytes:
        """Return the kernels that were compiled, for the next session; empty where they stand in the engine."""
        return b"" if self._context.compiled is None else bytes(self._context.compiled.serialize())

    def __call__(self, images: Pixels) -> tuple[Pixels, Pixels]:
        """Return labels and confidences, (N, H, W) uint8 each and the caller's own, of (N, H, W, 3) uint8 RGB images.

        Raises:
            EngineError: The GPU fails or is gone.
        """
        return self._frames(images)

    def close(self) -> None:
        """Let go of the engine; the session must not be called again."""
        self._frames.end()

    def _capturable(self, stream: int) -> bool:
        # TensorRT for RTX tells; the others' kernels always are.
        tells = getattr(self._context.execution, "is_stream_capturable", None)
        return tells is None or bool(tells(stream))

    def _work(self, *buffers: Tensor) -> None:
        """Put the engine's work on the current stream; it was told where the buffers are."""
        if not self._context.execution.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise self._failure("failed")

    def _failure(self, what: str) -> EngineError:
        return EngineError(
            f"TensorRT {what} on {self._device}: {self._backend.log.reason()}; free the GPU or set a smaller "
            "input_size where its memory ran out, else restart the node or set device to cpu."
        )
