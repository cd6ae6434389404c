"""PyTorch runs the Pipeline: on a CPU in fused oneDNN layers or plain ones, on a GPU as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import EngineError
from erfnet_ros.inference.device import (
    DTYPES,
    pick_device,
    pick_floats,
    pick_precision,
)
from erfnet_ros.inference.pytorch.cpu import CpuPipeline, fused_pipeline, on_single_thread
from erfnet_ros.inference.pytorch.cuda import GpuPipeline, _channels_last, free_cached
from erfnet_ros.models.checkpoint import Checkpoint
from erfnet_ros.models.pipeline import LogitsNetwork, Pipeline
from erfnet_ros.models.quantization import ranges_of

Run = Callable[[Pixels], tuple[Pixels, Pixels]]


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
            run = on_single_thread(self._on_cpu, checkpoint, input_size, precision)
            self._run: Run = partial(on_single_thread, run)
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
        network = LogitsNetwork(_channels_last(pipeline.to(DTYPES[self.precision])))
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
