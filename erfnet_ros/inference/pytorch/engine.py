"""PyTorch runs the Pipeline: on a CPU in fused oneDNN layers or plain ones, on a GPU as a CUDA graph."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from erfnet_ros.core.errors import EngineError
from erfnet_ros.engines.names import DEVICES, FLOATS, PRECISIONS
from erfnet_ros.inference.parity_check import MIN_AGREEMENT
from erfnet_ros.inference.pytorch.cpu import CpuPipeline, fused_layers_here, fused_pipeline, has_bf16_units
from erfnet_ros.inference.pytorch.cuda import GpuFrames, faults, free_cached
from erfnet_ros.inference.pytorch.single_thread import on_own_thread
from erfnet_ros.models.checkpoint import Calibration, Checkpoint
from erfnet_ros.models.logits_network import PlainNetwork
from erfnet_ros.models.pipeline import Pipeline
from erfnet_ros.models.quantization import ranges_of

Pixels = npt.NDArray[np.uint8]
Run = Callable[[Pixels], tuple[Pixels, Pixels]]

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class PyTorchEngine:
    """See `erfnet_ros.inference.factory.Engine` and `open_engine`."""

    name = "pytorch"

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str = "auto",
        precision: str = "auto",
        input_size: tuple[int, int] | None = None,
    ) -> None:
        self._device = pick_device(device)
        self.device = str(self._device)
        self.precision, self.notes = pick_precision(precision, self._device, checkpoint.calibration)
        self._gpu: GpuPipeline | None = None
        if self.device == "cpu":
            run = on_own_thread(self._on_cpu, checkpoint, input_size, precision)
            self._run: Run = partial(on_own_thread, run)
        else:
            self._run = self._gpu = self._on_gpu(checkpoint, input_size)

    def __call__(self, images: Pixels) -> tuple[Pixels, Pixels]:
        """See `erfnet_ros.inference.factory.Engine`."""
        return self._run(images)

    def close(self) -> None:
        """Free the weights, and the GPU's memory that PyTorch keeps for later."""
        del self._run
        if self._gpu is not None:
            self._gpu.close()
            self._gpu = None
            free_cached()

    def _on_cpu(self, checkpoint: Checkpoint, input_size: tuple[int, int] | None, asked: str) -> Run:
        pipeline = Pipeline(checkpoint, input_size).eval()
        ranges = ranges_of(checkpoint.calibration) if self.precision == "int8" else None
        fused, reason = fused_pipeline(pipeline, self.precision, ranges)
        if fused is not None:
            return fused
        if self.precision == "int8":
            if asked == "int8":
                raise EngineError(f"Precision 'int8' cannot be used here: {reason}; set precision to auto.")
            self.precision = pick_floats("auto", self._device)
            self.notes += (f"The network runs in {self.precision}, since int8 cannot be used here: {reason}.",)
            return self._on_cpu(checkpoint, input_size, self.precision)
        self.notes += (f"The network runs in PyTorch's plain layers, slower than it could: {reason}.",)
        network = PlainNetwork(_channels_last(pipeline.to(DTYPES[self.precision])))
        return CpuPipeline(network, checkpoint.input_size, input_size)

    def _on_gpu(self, checkpoint: Checkpoint, input_size: tuple[int, int] | None) -> GpuPipeline:
        pipeline = GpuPipeline(
            Pipeline(checkpoint, input_size).eval(), self._device, DTYPES[self.precision], self._note
        )
        width, height = checkpoint.input_size
        # What this GPU does not run must show here, where another engine can still take its place.
        pipeline(np.zeros((1, height, width, 3), np.uint8))
        return pipeline

    def _note(self, notes: tuple[str, ...]) -> None:
        self.notes += tuple(note for note in notes if note not in self.notes)


class GpuPipeline:
    """The Pipeline on a GPU: each shape of images has buffers and a CUDA graph of its own.

    Args:
        pipeline: In fp32 on the CPU; it is moved.
        device: The GPU.
        dtype: What it computes in.
        note: Takes what went otherwise than usual for a shape, a sentence each.

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
        with faults(device, "the network"):
            self._pipeline = _channels_last(pipeline.to(device, dtype))
        self._frames: dict[tuple[int, int, int], GpuFrames] = {}
        self._note = note

    def __call__(self, images: Pixels) -> tuple[Pixels, Pixels]:
        """See `erfnet_ros.inference.factory.Engine`."""
        count, height, width = images.shape[:3]
        shape = (count, height, width)
        frames = self._frames.pop(shape, None) or self._begun(shape)
        self._frames[shape] = frames
        while len(self._frames) > _SHAPES:
            self._frames.pop(next(iter(self._frames))).end()
        return frames(images)

    def close(self) -> None:
        """Let go of buffers and graphs."""
        for frames in self._frames.values():
            frames.end()
        self._frames.clear()

    def _begun(self, shape: tuple[int, int, int]) -> GpuFrames:
        frames = GpuFrames(shape, self._device)
        # Algorithms are timed once for a shape that comes for hours.
        with torch.backends.cudnn.flags(enabled=True, benchmark=True):
            frames.begin(self._work)
        self._note(frames.notes)
        return frames

    def _work(self, images: Tensor, labels: Tensor, confidences: Tensor) -> None:
        found = self._pipeline(images)
        labels.copy_(found[0])
        confidences.copy_(found[1])


_SHAPES = 16
"""Shapes of images whose buffers and graphs stay on the GPU, the last used: with several cameras, each number of images
that come together is one."""


def _channels_last(pipeline: Pipeline) -> Pipeline:
    """Lay out the weights as both cuDNN's and oneDNN's fast convolutions read them."""
    pipeline.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return pipeline


def pick_device(device: str) -> torch.device:
    """Turn the user's word into a device that exists.

    Raises:
        EngineError: The word is unknown, or names a GPU that is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return torch.device("cuda:0" if count else "cpu")
    if device == "cpu":
        return torch.device("cpu")
    match = re.fullmatch(r"cuda(?::(\d+))?", device)
    if match is None:
        raise EngineError(f"Expected device to be {DEVICES}, got '{device}'.")
    index = int(match[1] or 0)
    if index >= count:
        found = f"{count} GPU(s)" if count else "no GPU (no driver, or a CPU build of PyTorch)"
        raise EngineError(
            f"Device '{device}' was asked for, but PyTorch {torch.__version__} sees {found}; set device to auto or cpu."
        )
    return torch.device("cuda", index)


def pick_precision(
    precision: str, device: torch.device, calibration: Calibration | None
) -> tuple[str, tuple[str, ...]]:
    """Turn the user's word into a precision, with notes on what was chosen for want of something better.

    Args:
        precision: One of `PRECISIONS`. auto is fp16 on a GPU; on a CPU int8 where the checkpoint's calibration says
            that it answers as fp32 does (`MIN_AGREEMENT`), else bf16 where there are units for it, else fp32.
        device: Where the network runs.
        calibration: The checkpoint's, without which there is no int8.

    Raises:
        EngineError: The word is unknown, or the device does not compute in it.
    """
    if precision not in PRECISIONS:
        raise EngineError(f"Expected precision to be one of {', '.join(PRECISIONS)}, got '{precision}'.")
    if precision == "int8":
        if device.type == "cuda":
            raise EngineError(
                f"Precision 'int8' was asked for, but PyTorch computes it on CPUs only, not on {device}; set auto or "
                "fp16, or engine to tensorrt."
            )
        ranges_of(calibration)
        return precision, ()
    floats = pick_floats(precision, device)
    if precision != "auto" or device.type == "cuda" or not fused_layers_here():
        return floats, ()
    if calibration is None:
        return floats, (
            f"The network runs in {floats}; int8 is faster, once the weights went through erfnet calibrate.",
        )
    if calibration.agreement < MIN_AGREEMENT:
        same = f"{100 * calibration.agreement:.2f} % of the pixels"
        return floats, (f"The network runs in {floats}: int8 chooses the class of fp32 on {same} only.",)
    return "int8", ()


def pick_floats(precision: str, device: torch.device) -> str:
    """Turn the user's word into a precision of floats; auto is fp16 on a GPU, bf16 on a CPU with units for it, or fp32.

    Raises:
        EngineError: The word is unknown, or the device does not compute in it.
    """
    if precision not in FLOATS:
        raise EngineError(f"Expected precision to be one of {', '.join(FLOATS)} here, got '{precision}'.")
    if device.type == "cuda":
        return "fp16" if precision == "auto" else precision
    native = ("bf16", "fp32") if has_bf16_units() else ("fp32",)
    if precision == "auto":
        return native[0]
    if precision not in native:
        raise EngineError(
            f"Precision '{precision}' was asked for on a CPU that has no units for it and would take longer than in "
            f"fp32; set auto, int8, {' or '.join(native)}."
        )
    return precision
