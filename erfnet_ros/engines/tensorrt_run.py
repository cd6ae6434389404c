"""A loaded TensorRT engine on one GPU: buffers, stream, CUDA graph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch

from erfnet_ros import onnx_graph
from erfnet_ros.engines.tensorrt_flavours import Flavour
from erfnet_ros.errors import EngineError

Pixels = npt.NDArray[np.uint8]

_WARM_UP = 2
"""Runs before the CUDA graph is captured: the first ones load kernels, which must not happen while it is."""


class RefusedError(EngineError):
    """TensorRT does not load an engine: it is damaged, or this GPU is none that it was built for."""


class Session:
    """Run one engine for batches of one shape, with nothing allocated on the GPU per frame.

    Args:
        flavour: Whose engine it is.
        plan: The serialized engine.
        shape: (N, H, W) of the images.
        device: The GPU.
        kernels: What `kernels` of an earlier session returned, or None.

    Raises:
        RefusedError: TensorRT does not load the engine.
        EngineError: The GPU has too little memory, or fails.
    """

    def __init__(
        self, flavour: Flavour, plan: bytes, shape: tuple[int, int, int], device: torch.device, kernels: bytes | None
    ) -> None:
        self._flavour, self._device, self._shape = flavour, device, shape
        with self._faults(), torch.cuda.device(device):
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._on_gpu = [torch.zeros(size, dtype=torch.uint8, device=device) for size in self._sizes]
            self._on_host = [torch.zeros(size, dtype=torch.uint8, pin_memory=True) for size in self._sizes]
            self._arrays: list[Pixels] = [tensor.numpy() for tensor in self._on_host]
            self._runtime = flavour.new("Runtime")
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            if self._engine is None:
                raise RefusedError(
                    f"{flavour.title} does not load its engine on {torch.cuda.get_device_name(device)}: "
                    f"{flavour.log.reason()}; set engine to auto."
                )
            self._context = flavour.context(self._engine, kernels)
            if self._context.execution is None:
                raise self._failure("has no room for the engine's data")
            for name, tensor in zip((onnx_graph.INPUT, *onnx_graph.OUTPUTS), self._on_gpu, strict=True):
                self._context.execution.set_tensor_address(name, tensor.data_ptr())
            self.notes: tuple[str, ...] = ()
            self._graph = self._captured()

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
        image, labels, confidences = self._arrays
        np.copyto(image, images)
        with self._faults(), torch.cuda.stream(self._stream):
            if self._graph is None:
                self._enqueue()
            else:
                self._graph.replay()
            self._stream.synchronize()
        return labels.copy(), confidences.copy()

    @property
    def _sizes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of image, labels and confidences."""
        return (*self._shape, 3), self._shape, self._shape

    def _enqueue(self) -> None:
        """Put a frame's work on the current stream: copy in, network, copies out."""
        self._on_gpu[0].copy_(self._on_host[0], non_blocking=True)
        if not self._context.execution.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise self._failure("failed")
        for host, gpu in zip(self._on_host[1:], self._on_gpu[1:], strict=True):
            host.copy_(gpu, non_blocking=True)

    def _captured(self) -> torch.cuda.CUDAGraph | None:
        """Return a frame's work as one CUDA graph; None, with a note, where it cannot be captured."""
        with torch.cuda.stream(self._stream):
            for _ in range(_WARM_UP):
                self._enqueue()
            self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads, with engines of their own, may go on allocating meanwhile.
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                self._enqueue()
        except (EngineError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            self.notes = (f"TensorRT runs without a CUDA graph, which costs a little time per frame ({reason}).",)
            return None
        return graph

    def _failure(self, what: str) -> EngineError:
        return EngineError(
            f"TensorRT {what} on {self._device}: {self._flavour.log.reason()}; free the GPU or set a smaller "
            "input_size where its memory ran out, else restart the node or set device to cpu."
        )

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn what PyTorch raises of a GPU into errors that say what to do."""
        count, height, width = self._shape
        try:
            yield
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            if isinstance(error, torch.OutOfMemoryError) or "out of memory" in reason:
                raise EngineError(
                    f"The memory of {self._device} does not hold {count} image(s) of {width}x{height}; set a smaller "
                    "input_size, or free the GPU."
                ) from error
            raise EngineError(
                f"The GPU {self._device} failed, or is gone: {reason}; restart the node, or set device to cpu."
            ) from error
