"""GPU inference: pinned buffers, a stream of its own, and each frame's work as one CUDA graph."""

from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import DeviceError, EngineError
from erfnet_ros.core.image import copy_rgb
from erfnet_ros.inference.engine import Engine, preparation
from erfnet_ros.inference.pytorch.fused_gpu import Work, fuse
from erfnet_ros.models.pipeline import Pipeline

log = logging.getLogger(__name__)

_WARM_UP = 3
"""Runs before the graph is captured: the first ones load kernels and choose algorithms, which it must not hold."""

_SHAPES = 16
"""Shapes of images whose buffers and graphs stay on the GPU, the last used: with several cameras, each number of images
that come together is one."""

GRAPH_LOCK = threading.RLock()
"""Held around every capture, replay and emptying of PyTorch's cache: a process may capture only one graph at a time,
and up to PyTorch 2.6 a replay meanwhile raises, as does what synchronizes the whole GPU."""

LOADING_LOCK = threading.Lock()
"""Held by a thread that builds or loads an engine during live frames, which synchronizes the GPU: meanwhile nothing is
captured, and frames run without a graph."""

_OUT_OF_MEMORY = (
    "out of memory",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    # cuDNN, where it got no memory to work in.
    "unable to find an engine to execute this computation",
    # PyTorch on a Jetson, which has no NVML to ask how much memory is left.
    "NVML_SUCCESS == r INTERNAL ASSERT FAILED",
)


class GpuFrames:
    """Run one kind of work for batches of one shape; per frame nothing is allocated on the GPU, and one wait is made.

    Args:
        shape: (N, H, W) of the images.
        device: The GPU.

    Attributes:
        device: The GPU.
        images: (N, H, W, 3) uint8 on the GPU, what the work reads.
        labels, confidences: (N, H, W) uint8 on the GPU, what it writes.
        notes: Why it runs slower than it could, a sentence each.

    Raises:
        DeviceError: The GPU has too little memory, or fails.
    """

    def __init__(self, shape: tuple[int, int, int], device: torch.device) -> None:
        self._shape, self.device = shape, device
        self._graph: torch.cuda.CUDAGraph | None = None
        self._to_capture = True
        self.notes: tuple[str, ...] = ()
        sizes = ((*shape, 3), shape, shape)
        with self.faults(), torch.cuda.device(device):
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self.images, self.labels, self.confidences = (
                torch.zeros(size, dtype=torch.uint8, device=device) for size in sizes
            )
            self._on_host = [torch.zeros(size, dtype=torch.uint8, pin_memory=True) for size in sizes]
        self._arrays: list[Pixels] = [tensor.numpy() for tensor in self._on_host]

    def begin(self, work: Work, *, capturable: Callable[[int], bool] = lambda _: True, pool: Any = None) -> None:
        """Capture the work, copies included, as a CUDA graph; where that fails it is enqueued frame by frame.

        While another thread loads an engine, the capture is left to a later frame.

        Args:
            work: Reads images and writes labels and confidences on the current stream.
            capturable: Tells whether the work on a stream (its `cuda_stream`) can be captured at all, asked after a
                few runs: a capture that fails leaves PyTorch's memory allocator unusable.
            pool: `torch.cuda.graph_pool_handle()` whose memory graphs that never run at once share, or None.

        Raises:
            DeviceError: The GPU has too little memory, or fails.
            EngineError: The work raised it.
        """
        self._work, self._capturable, self._pool = work, capturable, pool
        with self.faults(), GRAPH_LOCK, torch.cuda.device(self.device), torch.inference_mode():
            # The buffers are zeroed on the default stream, which must be finished first.
            self._stream.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(self._stream):
                for _ in range(_WARM_UP):
                    self._enqueue()
                self._stream.synchronize()
        self._capture()

    def end(self) -> None:
        """Drop the graph and the work, whose owner may refer to these frames, so that all memory is freed at once."""
        self._graph = None
        del self._work, self._capturable

    def __call__(self, images: Pixels) -> tuple[Pixels, Pixels]:
        """See `erfnet_ros.inference.engine.Engine`."""
        pinned, labels, confidences = self._arrays
        for image, block in zip(images, pinned, strict=True):
            copy_rgb(image, block)
        if self._to_capture:
            self._capture()
        with self.faults(), torch.cuda.device(self.device), torch.cuda.stream(self._stream), torch.inference_mode():
            with GRAPH_LOCK:
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
        with faults(self.device, f"{count} image(s) of {width}x{height}"):
            yield

    def _capture(self) -> None:
        if not LOADING_LOCK.acquire(blocking=False):
            return
        try:
            # A capture that fails leaves its stream as the current one; here it ends with the block.
            with (
                self.faults(),
                GRAPH_LOCK,
                torch.cuda.device(self.device),
                torch.inference_mode(),
                torch.cuda.stream(self._stream),
            ):
                self._graph = self._captured()
        finally:
            LOADING_LOCK.release()
        self._to_capture = False

    def _captured(self) -> torch.cuda.CUDAGraph | None:
        """Return a frame's work as a graph, or None, with a note, where that cannot be."""
        if not self._capturable(self._stream.cuda_stream):
            self.notes = (_without_graph("its kernels do not allow it"),)
            return None
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads, with engines of their own, may go on allocating meanwhile.
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                self._enqueue()
        except (EngineError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            self.notes = (_without_graph(_first_line(error)),)
            return None
        return graph

    def _enqueue(self) -> None:
        """Enqueue a frame's work on the current stream: copy in, network, copies out."""
        self.images.copy_(self._on_host[0], non_blocking=True)
        self._work(self.images, self.labels, self.confidences)
        for host, gpu in zip(self._on_host[1:], (self.labels, self.confidences), strict=True):
            host.copy_(gpu, non_blocking=True)


@contextmanager
def faults(device: torch.device, load: str) -> Iterator[None]:
    """Turn what PyTorch raises of a GPU into a DeviceError that says what to do.

    Args:
        device: The GPU.
        load: What its memory is to hold, in words.
    """
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            free_cached()
            raise DeviceError(
                f"The memory of {device} does not hold {load}; set a smaller input_size, or free the GPU."
            ) from error
        raise DeviceError(
            f"The GPU {device} failed, or is gone: {_first_line(error)}; restart the node, or set device to cpu."
        ) from error


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error means, or near the limit may mean, that the GPU's memory ran out.

    cuDNN, cuBLAS, the driver and PyTorch on a Jetson each report it in words of their own.
    """
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)


def free_cached() -> None:
    """Return the GPU memory that PyTorch caches, as far as the GPU still answers."""
    with suppress(RuntimeError), GRAPH_LOCK:
        torch.cuda.empty_cache()


def close_safely(engine: Engine) -> None:
    """Free an engine's memory where its device still answers; else keep it until the process ends.

    PyTorch's pinned memory of a GPU that is gone cannot be freed: its destructor raises, which ends the process.
    """
    if _answers(engine.device):
        try:
            engine.close()
        except (EngineError, RuntimeError) as fault:
            log.info("%s on %s could not be closed: %s", engine.name, engine.device, fault)
    else:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine))


def _answers(device: str) -> bool:
    if device == "cpu" or torch.version.cuda is None:
        # PyTorch has no memory on a GPU.
        return True
    try:
        torch.zeros(1, device=device).item()
    except RuntimeError:
        return False
    return True


def _without_graph(reason: str) -> str:
    return f"Without a CUDA graph, which costs a little time per frame ({reason})."


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


class GpuPipeline:
    """The Pipeline on a GPU: each shape of images has buffers and a CUDA graph of its own.

    Args:
        pipeline: In fp32 on the CPU; it is moved.
        device: The GPU.
        dtype: What it computes in.
        note: Called with the notes on each new shape.

    Raises:
        EngineError: The GPU has too little memory, or fails.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        device: torch.device,
        dtype: torch.dtype,
        note: Callable[[tuple[str, ...]], None],
    ) -> None:
        self._device = device
        with faults(device, "the network"), torch.cuda.device(device):
            self._work, notes = fuse(channels_last(pipeline.to(device, dtype)))
        note(notes)
        self._frames: dict[tuple[int, int, int], GpuFrames] = {}
        self._note = note
        # Frames of several shapes never run at once.
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, images: Pixels) -> tuple[Pixels, Pixels]:
        """See `erfnet_ros.inference.engine.Engine`."""
        count, height, width = images.shape[:3]
        shape = (count, height, width)
        frames = self._frames.pop(shape, None) or self._begun(shape)
        self._frames[shape] = frames
        while len(self._frames) > _SHAPES:
            self._frames.pop(next(iter(self._frames))).end()
        answer = frames(images)
        # A capture that was left to a later frame may fail there.
        self._note(frames.notes)
        return answer

    def close(self) -> None:
        """Drop buffers and graphs."""
        for frames in self._frames.values():
            frames.end()
        self._frames.clear()

    @preparation()
    def _begun(self, shape: tuple[int, int, int]) -> GpuFrames:
        frames = GpuFrames(shape, self._device)
        # cuDNN times its algorithms once for each shape.
        with torch.backends.cudnn.flags(enabled=True, benchmark=True):
            frames.begin(self._work, pool=self._pool)
        return frames


def channels_last(pipeline: Pipeline) -> Pipeline:
    """Lay out the weights as both cuDNN's and oneDNN's fast convolutions read them."""
    pipeline.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return pipeline
