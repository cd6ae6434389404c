"""TensorRT engine builder: from a checkpoint by ONNX graph and strongly typed network to an engine in the cache."""

from __future__ import annotations

import functools
import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from erfnet_ros.core.errors import EngineError, ExportError
from erfnet_ros.inference.build_cache import Artifact, Cache, Key
from erfnet_ros.inference.parity_check import fingerprint
from erfnet_ros.inference.tensorrt.api import Backend
from erfnet_ros.models import checkpoint as checkpoint_module
from erfnet_ros.models import erfnet, fuse_batch_norm, pipeline
from erfnet_ros.models.checkpoint import Checkpoint
from erfnet_ros.models.onnx import export, quantize, resize
from erfnet_ros.models.quantization import ranges_of

if TYPE_CHECKING:
    import onnx

log = logging.getLogger(__name__)

Size = tuple[int, int]

Progress = Callable[[float], None]
"""Called with the share that is done, 0..1, never less than before; from any thread."""

_LOG_PERIOD_S = 10.0

PRECISIONS = ("fp16", "fp32", "int8")
"""The first is auto's: int8 is for those who asked. TensorRT has no transposed convolution in bf16."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a TensorRT engine is built for, and with.

    Attributes:
        camera: (width, height) of the images.
        input_size: (width, height) that the network sees, or None to follow camera and training.
        precision: One of `PRECISIONS`. fp32 convolutions may run in TF32, as PyTorch's do; int8 is `onnx.quantize`'s.
        batch: Images at a time.
        device: The GPU, or the CPU to build without one.
        workspace_mib: Most memory for a layer's scratch data, MiB, or None for all that is free. It matters to the
            build alone: an engine in the cache is found with any.
    """

    checkpoint: Checkpoint
    camera: Size
    input_size: Size | None = None
    precision: str = PRECISIONS[0]
    batch: int = 1
    backend: Backend
    cache: Cache
    device: torch.device
    workspace_mib: int | None = None

    @property
    def images(self) -> str:
        """What the engine is for, for messages."""
        size = _text(self.camera)
        return f"images of {size}" if self.batch == 1 else f"{self.batch} images of {size} at a time"

    @property
    def gpu(self) -> str:
        """Name and compute capability of the GPU, or "no GPU"."""
        return gpu_title(self.device) if self.device.type == "cuda" else "no GPU"

    @property
    def key(self) -> Key:
        """All that the engine depends on; an EngineError in int8 without a calibrated checkpoint."""
        seen = pipeline.network_size(self.camera, self.checkpoint.input_size, self.input_size)
        return {
            "weights": fingerprint(self.checkpoint),
            "ranges": str(sorted(ranges_of(self.checkpoint.calibration).items())) if self.precision == "int8" else None,
            "camera": _text(self.camera),
            "network": _text(seen),
            "precision": self.precision,
            "batch": self.batch,
            "backend": self.backend.name,
            "version": self.backend.version,
            "gpu": self.gpu if self.backend.times_kernels else "any GPU",
            "graph": _graph_version(),
        }


@dataclass(frozen=True)
class Parsed:
    """A network as TensorRT understood it; builder and parser own parts of it."""

    builder: Any
    network: Any
    parser: Any


def build_engine(request: Request, progress: Progress) -> Artifact:
    """Return the engine of a request, out of the cache or built; raise EngineError where it cannot be built here."""

    def build(path: Path) -> Mapping[str, Any]:
        start = time.monotonic()
        # TensorRT builds and times kernels on the thread's current GPU.
        with torch.cuda.device(request.device) if request.device.type == "cuda" else nullcontext():
            path.write_bytes(_serialized(request, _graph(request), progress))
        return {"gpu": request.gpu, "seconds": round(time.monotonic() - start, 1)}

    return request.cache.artifact("tensorrt", request.key, "engine", build=build)


def is_built(request: Request) -> bool:
    """Tell whether the engine of a request is in the cache."""
    return request.cache.holds("tensorrt", request.key, "engine")


def parse(backend: Backend, model: onnx.ModelProto) -> Parsed:
    """Read a graph into a strongly typed network; raise EngineError where TensorRT refuses that."""
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


def _serialized(request: Request, model: onnx.ModelProto, progress: Progress) -> memoryview:
    backend = request.backend
    parsed = parse(backend, model)
    config = parsed.builder.create_builder_config()
    if request.workspace_mib is not None:
        config.set_memory_pool_limit(backend.api.MemoryPoolType.WORKSPACE, request.workspace_mib << 20)
    monitor = new_monitor(backend.api, progress)
    config.progress_monitor = monitor
    with _timings(request, config):
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
def _timings(request: Request, config: Any) -> Iterator[None]:
    """Give a build the kernel timings of earlier ones on this GPU, and store those that it adds."""
    backend, cache = request.backend, request.cache
    if not backend.times_kernels:
        yield
        return
    key = {"backend": backend.name, "version": backend.version, "gpu": request.gpu}

    def stored(timings: bytes) -> Artifact:
        return cache.artifact("tensorrt-timings", key, "bin", build=lambda path: {"bytes": path.write_bytes(timings)})

    known = stored(b"")
    if not config.set_timing_cache(config.create_timing_cache(known.path.read_bytes()), False):
        config.set_timing_cache(config.create_timing_cache(b""), False)
    try:
        yield
    finally:
        cache.discard(known)
        stored(bytes(config.get_timing_cache().serialize()))


def new_monitor(api: Any, progress: Progress) -> Any:
    """Return an `api.IProgressMonitor` that calls `progress`; its `interruption` is what must be raised afterwards.

    TensorRT prints what a callback raises and goes on building. So a Ctrl-C that is raised in a callback is stored, and
    stops the build at its next step.
    """

    class Monitor(api.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            api.IProgressMonitor.__init__(self)
            self.interruption: BaseException | None = None
            # Number of steps and steps done of each phase; the outermost, whose share is the whole, comes first.
            self._phases: dict[str, tuple[int, int]] = {}
            self._shown = 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._phases[phase_name] = max(1, num_steps), 0

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._phases:
                self._phases[phase_name] = self._phases[phase_name][0], step + 1
            self._show()
            return self.interruption is None

        def phase_finish(self, phase_name: str) -> None:
            self._phases.pop(phase_name, None)
            self._show()

        def _show(self) -> None:
            share = 0.0 if self._phases else 1.0
            for steps, done in reversed(self._phases.values()):
                share = min(1.0, (done + share) / steps)
            self._shown = max(self._shown, share)
            try:
                progress(self._shown)
            except BaseException as error:  # raised again by `_serialized`
                self.interruption = self.interruption or error

    return Monitor()


def log_progress(request: Request) -> Progress:
    """Return a progress that logs the share of a build that is done, every ten seconds."""
    last = time.monotonic()

    def show(done: float) -> None:
        nonlocal last
        if time.monotonic() - last >= _LOG_PERIOD_S:
            last = time.monotonic()
            log.info("Building the TensorRT engine for %s: %.0f %%", request.images, 100 * done)

    return show


def gpu_title(device: torch.device) -> str:
    """Return a GPU's name and compute capability."""
    major, minor = torch.cuda.get_device_capability(device)
    return f"{torch.cuda.get_device_name(device)}, compute capability {major}.{minor}"


@functools.cache
def _graph_version() -> str:
    """Return a hash of the code that writes the graph, so that engines of other versions of it are not used."""
    digest = hashlib.sha256(torch.__version__.encode())
    for module in (erfnet, fuse_batch_norm, pipeline, checkpoint_module, export, resize, quantize):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()[:16]


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
