"""PyTorch engine: fused oneDNN layers or plain ones on a CPU, CUDA graphs on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import numpy as np
import torch

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import EngineError
from erfnet_ros.inference.device import DTYPES, pick_device, pick_floats, pick_precision
from erfnet_ros.inference.engine import EngineRequest
from erfnet_ros.inference.pytorch.cpu import CpuPipeline, fused_pipeline, on_single_thread
from erfnet_ros.inference.pytorch.cuda import GpuPipeline, channels_last, free_cached
from erfnet_ros.models.pipeline import LogitsNetwork, Pipeline
from erfnet_ros.models.quantization import ranges_of


class PyTorchEngine:
    """See `erfnet_ros.inference.engine.Engine`."""

    name = "pytorch"
    distributions: ClassVar[tuple[str, ...]] = ("torch",)
    computes_with_onednn: ClassVar[bool] = True

    def __init__(self, request: EngineRequest) -> None:
        self._device = pick_device(request.device)
        self.device = str(self._device)
        self.precision, self.notes = pick_precision(request.precision, self._device, request.checkpoint.calibration)
        self._run: Callable[[Pixels], tuple[Pixels, Pixels]]
        if self.device == "cpu":
            self._run = partial(on_single_thread, on_single_thread(self._on_cpu, request))
        else:
            self._run = self._on_gpu(request)

    @staticmethod
    def is_candidate(request: EngineRequest, device: torch.device) -> bool:
        """See `erfnet_ros.inference.engine.EngineType`."""
        return True

    def __call__(self, images: Pixels) -> tuple[Pixels, Pixels]:
        """See `erfnet_ros.inference.engine.Engine`."""
        return self._run(images)

    def close(self) -> None:
        """Free the weights, and the GPU's memory that PyTorch caches."""
        run = self._run
        del self._run
        if isinstance(run, GpuPipeline):
            run.close()
            del run
            free_cached()

    def _on_cpu(self, request: EngineRequest) -> CpuPipeline:
        pipeline = Pipeline(request.checkpoint, request.input_size).eval()
        ranges = ranges_of(request.checkpoint.calibration) if self.precision == "int8" else None
        fused, reason = fused_pipeline(pipeline, self.precision, ranges)
        if fused is None and self.precision == "int8":
            if request.precision == "int8":
                raise EngineError(f"Precision 'int8' cannot be used here: {reason}; set precision to auto.")
            self.precision = pick_floats("auto", self._device)
            self.notes += (f"The network runs in {self.precision}, since int8 cannot be used here: {reason}.",)
            fused, reason = fused_pipeline(pipeline, self.precision, None)
        if fused is not None:
            return fused
        self.notes += (f"The network runs in PyTorch's plain layers, slower than it could: {reason}.",)
        network = LogitsNetwork(channels_last(pipeline.to(DTYPES[self.precision])))
        return CpuPipeline(network, request.checkpoint.input_size, request.input_size)

    def _on_gpu(self, request: EngineRequest) -> GpuPipeline:
        pipeline = Pipeline(request.checkpoint, request.input_size).eval()
        on_gpu = GpuPipeline(pipeline, self._device, DTYPES[self.precision], self._note)
        width, height = request.checkpoint.input_size
        # What this GPU does not run must fail here, where another engine can still take its place.
        on_gpu(np.zeros((1, height, width, 3), np.uint8))
        return on_gpu

    def _note(self, notes: tuple[str, ...]) -> None:
        self.notes += tuple(note for note in notes if note not in self.notes)
