"""TensorRT engine builder: from a checkpoint by ONNX graph and strongly typed network to an engine in the cache."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from erfnet_ros.core.errors import EngineError, ExportError
from erfnet_ros.inference.build_cache import Artifact, Cache, Key
from erfnet_ros.inference.parity_check import fingerprint
from erfnet_ros.inference.tensorrt.api import Backend
from erfnet_ros.inference.tensorrt.progress import Progress, new_monitor
from erfnet_ros.models import checkpoint as checkpoint_module
from erfnet_ros.models import erfnet, fuse_batch_norm, pipeline
from erfnet_ros.models.checkpoint import Checkpoint
from erfnet_ros.models.onnx import export, quantize, resize
from erfnet_ros.models.quantization import ranges_of

if TYPE_CHECKING:
    import onnx

Size = tuple[int, int]

PRECISIONS = ("fp16", "fp32", "int8")
"""The first is auto's: int8 is for those who asked. TensorRT has no transposed convolution in bf16."""

NO_GPU = "no GPU"
ANY_GPU = "any GPU"


@dataclass(frozen=True)
class Request:
    """What a TensorRT engine is built for.

    Attributes:
        checkpoint: What it computes.
        camera: (width, height) of the images.
        input_size: (width, height) that the network sees, or None to follow camera and training.
        precision: One of `PRECISIONS`. fp32 convolutions may run in TF32, as PyTorch's do; int8 is `onnx.quantize`'s.
        batch: Images at a time.
        gpu: Name and compute capability of the GPU, or `NO_GPU`.
        workspace_mib: Most memory for a layer's scratch data, MiB, or None for all that is free. It matters to the
            build alone: an engine in the cache is found with any.
        device: The GPU to build on, or None without one.
    """

    checkpoint: Checkpoint
    camera: Size
    input_size: Size | None
    precision: str
    batch: int
    gpu: str
    workspace_mib: int | None = None
    device: torch.device | None = None

    @property
    def images(self) -> str:
        """What the engine is for, in words."""
        size = _text(self.camera)
        return f"images of {size}" if self.batch == 1 else f"{self.batch} images of {size} at a time"

    def key(self, backend: Backend) -> Key:
        """Return all that the engine depends on.

        Raises:
            EngineError: It is to be in int8, but the checkpoint is not calibrated.
        """
        seen = pipeline.network_size(self.camera, self.checkpoint.input_size, self.input_size)
        return {
            "weights": fingerprint(self.checkpoint),
            "ranges": str(sorted(ranges_of(self.checkpoint.calibration).items())) if self.precision == "int8" else None,
            "camera": _text(self.camera),
            "network": _text(seen),
            "precision": self.precision,
            "batch": self.batch,
            "backend": backend.name,
            "version": backend.version,
            "gpu": self.gpu if backend.times_kernels else ANY_GPU,
            "graph": _graph_version(),
        }


@dataclass(frozen=True)
class Parsed:
    """A network as TensorRT understood it; builder and parser own parts of it."""

    builder: Any
    network: Any
    parser: Any


def build_engine(request: Request, backend: Backend, cache: Cache, progress: Progress) -> Artifact:
    """Return the engine of a request, out of the cache or built.

    Raises:
        EngineError: ONNX is not installed, or TensorRT refuses the graph or cannot build it here.
    """

    def build(path: Path) -> Mapping[str, Any]:
        start = time.monotonic()
        # TensorRT builds and times kernels on the thread's current GPU.
        with torch.cuda.device(request.device) if request.device else nullcontext():
            path.write_bytes(_serialized(request, backend, _graph(request), cache, progress))
        return {"gpu": request.gpu, "seconds": round(time.monotonic() - start, 1)}

    return cache.artifact(*_place(request, backend), build)


def is_built(request: Request, backend: Backend, cache: Cache) -> bool:
    """Tell whether the engine of a request is in the cache.

    Raises:
        EngineError: It is to be in int8, but the checkpoint is not calibrated.
    """
    return cache.holds(*_place(request, backend))


def parse(backend: Backend, model: onnx.ModelProto) -> Parsed:
    """Read a graph into a strongly typed network.

    Raises:
        EngineError: TensorRT does not start here, or refuses the graph.
    """
    builder = backend.new("Builder")
    definition = backend.network(builder)
    parser = backend.api.OnnxParser(definition, backend.log)
    if not parser.parse(model.SerializeToString()):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        faults = "; ".join(f"{error.node_operator()} '{error.node_name()}': {error.desc()}" for error in errors)
        raise EngineError(
            f"Expected {backend.title} to read the network's ONNX graph, got: {faults or backend.log.reason()}; update "
            "TensorRT, or set engine to auto."
        )
    return Parsed(builder, definition, parser)


def _place(request: Request, backend: Backend) -> tuple[str, Key, str]:
    return "tensorrt", request.key(backend), "engine"


def _graph(request: Request) -> onnx.ModelProto:
    try:
        return export.build(
            request.checkpoint,
            request.camera,
            input_size=request.input_size,
            precision=request.precision,
            batch=request.batch,
        )
    except ExportError as error:
        raise EngineError(f"TensorRT reads the network as ONNX, which cannot be written: {error}") from error


def _serialized(
    request: Request, backend: Backend, model: onnx.ModelProto, cache: Cache, progress: Progress
) -> memoryview:
    parsed = parse(backend, model)
    config = parsed.builder.create_builder_config()
    if request.workspace_mib is not None:
        config.set_memory_pool_limit(backend.api.MemoryPoolType.WORKSPACE, request.workspace_mib << 20)
    monitor = new_monitor(backend.api, progress)
    config.progress_monitor = monitor
    with _timings(request, backend, cache, config):
        engine = parsed.builder.build_serialized_network(parsed.network, config)
    if monitor.interruption is not None:
        raise monitor.interruption
    if engine is None:
        raise EngineError(
            f"{backend.title} cannot build the network in {request.precision} for images of {_text(request.camera)} "
            f"on {request.gpu}: {backend.log.reason()}; set engine to auto, or give more memory with "
            "'erfnet build-engine --workspace MIB'."
        )
    return memoryview(engine)


@contextmanager
def _timings(request: Request, backend: Backend, cache: Cache, config: Any) -> Iterator[None]:
    """Give a build the kernel timings of earlier ones on this GPU, and keep those that it adds."""
    if not backend.times_kernels:
        yield
        return
    key = {"backend": backend.name, "version": backend.version, "gpu": request.gpu}

    def kept(timings: bytes) -> Artifact:
        return cache.artifact("tensorrt-timings", key, "bin", lambda path: {"bytes": path.write_bytes(timings)})

    known = kept(b"")
    if not config.set_timing_cache(config.create_timing_cache(known.path.read_bytes()), False):
        config.set_timing_cache(config.create_timing_cache(b""), False)
    try:
        yield
    finally:
        cache.discard(known)
        kept(bytes(config.get_timing_cache().serialize()))


@functools.cache
def _graph_version() -> str:
    """Return a hash of the code that writes the graph, so that engines of other versions of it are not used."""
    digest = hashlib.sha256(torch.__version__.encode())
    for module in (erfnet, fuse_batch_norm, pipeline, checkpoint_module, export, resize, quantize):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()[:16]


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
