"""OpenVINO engine: the network on a CPU, compiled for each size that it sees."""

from __future__ import annotations

import importlib.util
import io
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import EngineError, ExportError
from erfnet_ros.core.system_info import processor
from erfnet_ros.inference import device as devices
from erfnet_ros.inference.build_cache import Cache, Key
from erfnet_ros.inference.engine import EngineRequest, preparation
from erfnet_ros.inference.parity_check import check_parity, fingerprint
from erfnet_ros.inference.pytorch.cpu import CpuPipeline, on_single_thread
from erfnet_ros.inference.pytorch.onednn import ISA_VARIABLE, has_int8_units
from erfnet_ros.models.checkpoint import Calibration
from erfnet_ros.models.erfnet import STRIDE
from erfnet_ros.models.onnx import export
from erfnet_ros.models.onnx.quantize import quantize
from erfnet_ros.models.pipeline import Pipeline
from erfnet_ros.models.quantization import ranges_of

log = logging.getLogger(__name__)

_FLOATS = {"fp32": "f32", "bf16": "bf16"}
"""OpenVINO's words for what is not in bytes."""

_GRAPH = 1
"""Version of the graph: raised when the graph of a given key changes, so that cached ones are built again."""


class OpenVinoEngine:
    """See `erfnet_ros.inference.engine.Engine`.

    In int8 the graph is TensorRT's: the encoder's residual convolutions in bytes (`quantize`), the rest in floats.
    `CpuPipeline` resizes the image and enlarges the labels.

    Args:
        request: What to run.
        cache: Where the graph and what is compiled of it are kept.

    Raises:
        EngineError: OpenVINO is not installed, lacks the device or the precision, or disagrees with PyTorch.
    """

    name = "openvino"
    device = "cpu"
    distributions: ClassVar[tuple[str, ...]] = ("onnx", "onnxscript", "openvino")
    computes_with_onednn: ClassVar[bool] = True

    def __init__(self, request: EngineRequest, cache: Cache | None = None) -> None:
        if request.device not in ("auto", "cpu"):
            raise EngineError(f"Engine 'openvino' runs on the CPU here, got device '{request.device}'; set it to cpu.")
        self._openvino = _openvino()
        self._core = self._openvino.Core()
        self._checkpoint = request.checkpoint
        self.precision, self.notes = pick_precision(request.precision, self._checkpoint.calibration)
        in_bf16 = self.precision == "bf16" or (self.precision == "int8" and devices.has_bf16_units())
        self._options: dict[str, str | int] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": _FLOATS["bf16" if in_bf16 else "fp32"],
        }
        self._cache = cache or Cache()
        self._key: Key = {
            "network": fingerprint(self._checkpoint),
            "bytes": self.precision == "int8",
            "torch": torch.__version__,
            "graph": _GRAPH,
        }
        self._runs: dict[tuple[int, ...], Callable[[Pixels], Tensor]] = {}
        self._run = CpuPipeline(self._logits, self._checkpoint.input_size, request.input_size)
        wide, high = (-(-side // STRIDE) * STRIDE for side in self._checkpoint.input_size)
        self._trained_shape = (1, high, wide, 3)
        self._runs[self._trained_shape] = self._compiled(self._trained_shape)

    @staticmethod
    def is_candidate(request: EngineRequest, device: torch.device) -> bool:
        """See `erfnet_ros.inference.engine.EngineType`."""
        return device.type == "cpu" and importlib.util.find_spec("openvino") is not None

    def __call__(self, images: Pixels) -> tuple[Pixels, Pixels]:
        """See `erfnet_ros.inference.engine.Engine`."""
        return on_single_thread(self._run, images)

    def close(self) -> None:
        """Free the compiled networks."""
        self._runs.clear()

    def _logits(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the logits of each image, to be read before the next one's."""
        for image in images:
            shape = (1, *image.shape)
            if shape not in self._runs:
                self._runs[shape] = self._compiled(shape)
            yield self._runs[shape](image[None].numpy())

    @preparation()
    def _compiled(self, shape: tuple[int, ...]) -> Callable[[Pixels], Tensor]:
        """Return what runs images (1, H, W, 3); 8 divides H and W."""
        key = {
            **self._key,
            **self._options,
            "shape": str(shape),
            "openvino": self._openvino.__version__,
            "processor": f"{processor()} {os.environ.get(ISA_VARIABLE, '')}",
        }
        artifact = self._cache.artifact("openvino", key, "blob", build=partial(self._compile, shape))
        self.notes += artifact.notes
        request = self._core.import_model(io.BytesIO(artifact.path.read_bytes()), "CPU", self._options)
        return partial(_infer, request.create_infer_request())

    def _compile(self, shape: tuple[int, ...], path: Path) -> Mapping[str, Any]:
        """Compile the graph for one shape; the first one is compared with PyTorch."""
        graph = self._cache.artifact("openvino-graph", self._key, "onnx", build=self._write)
        model = self._core.read_model(graph.path)
        model.reshape({export.INPUT: [*shape]})
        compiled = self._core.compile_model(model, "CPU", self._options)
        blob = io.BytesIO()
        compiled.export_model(blob)
        path.write_bytes(blob.getvalue())
        if shape != self._trained_shape:
            return {}
        run = partial(_infer, compiled.create_infer_request())
        size = (shape[2], shape[1])
        around = CpuPipeline(lambda images: [run(image[None].numpy()) for image in images], size, None)
        pipeline = Pipeline(self._checkpoint, size).eval()
        agreement = check_parity(around, pipeline, name=f"OpenVINO ({self.precision})", sizes=[size])
        return {"agreement": agreement}

    def _write(self, path: Path) -> Mapping[str, Any]:
        log.info("Writing the network as ONNX for images of any size; this is done once.")
        try:
            model = export.build_network(self._checkpoint)
        except ExportError as error:
            raise EngineError(f"The network cannot be written as ONNX: {error}") from error
        if self.precision == "int8":
            quantize(model, ranges_of(self._checkpoint.calibration))
        path.write_bytes(model.SerializeToString())
        return {}


def pick_precision(precision: str, calibration: Calibration | None) -> tuple[str, tuple[str, ...]]:
    """Return what `device.pick_precision` does for the CPU, but int8 only with VNNI.

    Raises:
        EngineError: The word is unknown, or the processor does not compute in it.
    """
    cpu = torch.device("cpu")
    picked, notes = devices.pick_precision(precision, cpu, calibration)
    if picked != "int8" or has_int8_units():
        return picked, notes
    # Measured with OpenVINO 2026.4 held to AVX2.
    reason = "on a processor without VNNI OpenVINO chooses the class of fp32 on 98 % of the pixels only in int8"
    if precision == "int8":
        raise EngineError(f"Precision 'int8' was asked for, but {reason}; set it to auto, or engine to pytorch.")
    floats = devices.pick_floats("auto", cpu)
    return floats, (f"The network runs in {floats}: {reason}.",)


def _infer(request: Any, image: Pixels) -> Tensor:
    """Return logits, which the request's next call overwrites."""
    return torch.from_numpy(request.infer({0: image}, share_inputs=True, share_outputs=True)[0])


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise EngineError(
            "Engine 'openvino' needs the packages onnx, onnxscript and openvino, got none called "
            f"'{error.name or error}'; install them with: pip install 'erfnet_ros[openvino]', or '.[openvino]' in a "
            "checkout; or set engine to auto."
        ) from error
    return openvino
