"""A frame's work on an NVIDIA GPU: pinned buffers, a stream of its own, and all of it as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from erfnet_ros.errors import EngineError

Pixels = npt.NDArray[np.uint8]
Work = Callable[[Tensor, Tensor, Tensor], None]

_WARM_UP = 3
"""Runs before the graph is captured: the first ones load kernels and choose algorithms, which it must not hold."""


class GpuFrames:
    """Run one kind of work for batches of one shape; per frame nothing is allocated on the GPU, and one wait is made.

    Args:
        shape: (N, H, W) of the images.
        device: The GPU.

    Attributes:
        images: (N, H, W, 3) uint8 on the GPU, what the work reads.
        labels: (N, H, W) uint8 on the GPU, what it writes.
        confidences: (N, H, W) uint8 on the GPU, what it writes.
        notes: What went otherwise than usual, a sentence each.

    Raises:
        EngineError: The GPU has too little memory, or fails.
    """

    def __init__(self, shape: tuple[int, int, int], device: torch.device) -> None:
        self._shape, self._device = shape, device
        self._graph: torch.cuda.CUDAGraph | None = None
        self.notes: tuple[str, ...] = ()
        sizes = ((*shape, 3), shape, shape)
        with self.faults(), torch.cuda.device(device):
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self.images, self.labels, self.confidences = (
                torch.zeros(size, dtype=torch.uint8, device=device) for size in sizes
            )
            self._on_host = [torch.zeros(size, dtype=torch.uint8, pin_memory=True) for size in sizes]
        self._arrays: list[Pixels] = [tensor.numpy() for tensor in self._on_host]

    def begin(self, work: Work) -> None:
        """Capture the work, copies included, as a CUDA graph; where that fails it is put on the stream frame by frame.

        Args:
            work: Reads images and writes labels and confidences on the current stream.

        Raises:
            EngineError: The GPU has too little memory, or fails.
        """
        self._work = work
        with self.faults(), torch.cuda.device(self._device), torch.inference_mode():
            # What the buffers' making left on the default stream must be done first.
            self._stream.wait_stream(torch.cuda.current_stream(self._device))
            with torch.cuda.stream(self._stream):
                for _ in range(_WARM_UP):
                    self._enqueue()
                self._stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            try:
                # Other threads, with engines of their own, may go on allocating meanwhile.
                with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                    self._enqueue()
            except torch.OutOfMemoryError:
                raise
            except (EngineError, RuntimeError) as error:
                self.notes = (f"Without a CUDA graph, which costs a little time per frame ({_first_line(error)}).",)
            else:
                self._graph = graph

    def __call__(self, images: Pixels) -> tuple[Pixels, Pixels]:
        """Return labels and confidences, (N, H, W) uint8 each and the caller's own, of (N, H, W, 3) uint8 RGB images.

        Raises:
            EngineError: The GPU fails or is gone.
        """
        image, labels, confidences = self._arrays
        np.copyto(image, images)
        with self.faults(), torch.cuda.device(self._device), torch.cuda.stream(self._stream), torch.inference_mode():
            if self._graph is None:
                self._enqueue()
            else:
                self._graph.replay()
            self._stream.synchronize()
        return labels.copy(), confidences.copy()

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Turn what PyTorch raises of a GPU into errors that say what to do."""
        count, height, width = self._shape
        try:
            yield
        except RuntimeError as error:
            reason = _first_line(error)
            if isinstance(error, torch.OutOfMemoryError) or "out of memory" in reason:
                torch.cuda.empty_cache()
                raise EngineError(
                    f"The memory of {self._device} does not hold {count} image(s) of {width}x{height}; set a smaller "
                    "input_size, or free the GPU."
                ) from error
            raise EngineError(
                f"The GPU {self._device} failed, or is gone: {reason}; restart the node, or set device to cpu."
            ) from error

    def _enqueue(self) -> None:
        """Put a frame's work on the current stream: copy in, network, copies out."""
        self.images.copy_(self._on_host[0], non_blocking=True)
        self._work(self.images, self.labels, self.confidences)
        for host, gpu in zip(self._on_host[1:], (self.labels, self.confidences), strict=True):
            host.copy_(gpu, non_blocking=True)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
