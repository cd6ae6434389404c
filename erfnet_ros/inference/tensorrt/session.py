"""TensorRT session: an engine loaded on one GPU with its buffers, compared with PyTorch before its first use."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import EngineError
from erfnet_ros.core.system_info import nvidia_driver
from erfnet_ros.inference.build_cache import Artifact, Key
from erfnet_ros.inference.engine import Run
from erfnet_ros.inference.parity_check import check_parity
from erfnet_ros.inference.pytorch.cuda import GpuFrames
from erfnet_ros.inference.tensorrt.build import Progress, Request, build_engine, is_built
from erfnet_ros.models.onnx import export
from erfnet_ros.models.pipeline import Pipeline

log = logging.getLogger(__name__)


class RefusedError(EngineError):
    """TensorRT does not load an engine: it is damaged, or was built for other GPUs."""


class Session:
    """Run one engine for batches of one shape on one GPU.

    Args:
        request: What the engine was built for.
        plan: The serialized engine.
        kernels: What `kernels` of an earlier session returned; `fitting` tells whether they were of use here.

    Raises:
        RefusedError: TensorRT does not load the engine.
        EngineError: The GPU has too little memory, or fails.
    """

    def __init__(self, request: Request, plan: bytes, kernels: bytes | None = None) -> None:
        self._backend, self._device = request.backend, request.device
        width, height = request.camera
        self._frames = frames = GpuFrames((request.batch, height, width), self._device)
        with frames.faults(), torch.cuda.device(self._device):
            self._runtime = self._backend.new("Runtime")
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            if self._engine is None:
                raise RefusedError(
                    f"{self._backend.title} does not load its engine on {torch.cuda.get_device_name(self._device)}: "
                    f"{self._backend.log.reason()}; set engine to auto."
                )
            if self._backend.compiles_at_load:
                config = self._engine.create_runtime_config()
                self._compiled = config.create_runtime_cache()
                self.fitting = kernels is None or self._compiled.deserialize(kernels)
                config.set_runtime_cache(self._compiled)
                self._context = self._engine.create_execution_context(config)
            else:
                self._context = self._engine.create_execution_context()
            if self._context is None:
                raise self._failure("has no room for the engine's data")
            buffers = (frames.images, frames.labels, frames.confidences)
            for name, buffer in zip((export.INPUT, *export.OUTPUTS), buffers, strict=True):
                self._context.set_tensor_address(name, buffer.data_ptr())
        frames.begin(self._work, capturable=self._capturable)

    @property
    def notes(self) -> tuple[str, ...]:
        """Why it runs slower than it could, a sentence each."""
        return self._frames.notes

    def kernels(self) -> bytes:
        """Return the kernels that were compiled, for the next session; only where they are compiled at load."""
        return bytes(self._compiled.serialize())

    def __call__(self, images: Pixels) -> tuple[Pixels, Pixels]:
        """See `erfnet_ros.inference.engine.Engine`."""
        return self._frames(images)

    def close(self) -> None:
        """Drop the engine; the session must not be called again."""
        self._frames.end()

    def _capturable(self, stream: int) -> bool:
        # Only TensorRT for RTX has kernels that cannot be captured, and the method that tells.
        tells = getattr(self._context, "is_stream_capturable", None)
        return tells is None or bool(tells(stream))

    def _work(self, *buffers: Tensor) -> None:
        """Enqueue the engine's work on the current stream; the buffers' addresses are set."""
        if not self._context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise self._failure("failed")

    def _failure(self, what: str) -> EngineError:
        return EngineError(
            f"TensorRT {what} on {self._device}: {self._backend.log.reason()}; free the GPU or set a smaller "
            "input_size where its memory ran out, else restart the node or set device to cpu."
        )


@dataclass(frozen=True)
class Opened:
    """An engine that was loaded, and `agreement`, the share of pixels on which it chooses PyTorch's class, 0..1."""

    session: Session
    engine: Artifact
    agreement: float
    notes: tuple[str, ...]


def is_checked(request: Request) -> bool:
    """Tell whether an engine was opened here before: then nothing is built, compiled or compared any more."""
    if not is_built(request):
        return False
    engine = build_engine(request, lambda _: None)
    return request.cache.holds("tensorrt-agreement", _key_on_gpu(request, engine), "json")


def open_session(request: Request, progress: Progress) -> Opened:
    """Load an engine, built and compared with PyTorch if that has not been done before.

    Raises:
        EngineError: It cannot be built or loaded, or disagrees with PyTorch; then it is not kept.
    """
    engine = build_engine(request, progress)
    try:
        session = _loaded(request, engine)
    except RefusedError:
        request.cache.discard(engine)
        if engine.built:
            raise
        engine = build_engine(request, progress)
        session = _loaded(request, engine)
    if engine.built:
        seconds = engine.metadata["seconds"]
        log.info("TensorRT built an engine for %s in %.0f s; it is kept at %s.", request.images, seconds, engine.path)
    checked = check_once(request, engine, session)
    return Opened(session, engine, checked.metadata["agreement"], (*engine.notes, *session.notes, *checked.notes))


def check_once(request: Request, engine: Artifact, run: Run) -> Artifact:
    """Compare a loaded engine with PyTorch in fp32, unless this very file was compared on this GPU before.

    The result is kept as the fact "agreement".

    Raises:
        EngineError: It chooses another class too often; the engine is removed from the cache.
    """
    width, height = request.camera
    name = f"{request.backend.title} ({request.precision}, {width}x{height})"

    def last_of_batch(image: Pixels) -> tuple[Pixels, Pixels]:
        labels, confidences = run(np.repeat(image, request.batch, axis=0))
        return labels[-1:], confidences[-1:]

    def compare(_: Path) -> Mapping[str, Any]:
        pipeline = Pipeline(request.checkpoint, request.input_size).eval()
        return {"agreement": check_parity(last_of_batch, pipeline, name=name, sizes=[request.camera])}

    try:
        return request.cache.artifact("tensorrt-agreement", _key_on_gpu(request, engine), "json", build=compare)
    except EngineError:
        request.cache.discard(engine)
        raise


def _loaded(request: Request, engine: Artifact) -> Session:
    """Load an engine, with cached kernels where its backend compiles them at load."""
    plan = engine.path.read_bytes()
    if not request.backend.compiles_at_load:
        return Session(request, plan)
    compiled: list[Session] = []

    def build(path: Path) -> Mapping[str, Any]:
        compiled.append(Session(request, plan))
        path.write_bytes(compiled[-1].kernels())
        return {}

    place = "tensorrt-kernels", _key_on_gpu(request, engine), "bin"
    kernels = request.cache.artifact(*place, build=build)
    if not compiled:
        session = Session(request, plan, kernels.path.read_bytes())
        if session.fitting:
            return session
        # Compiled by another driver.
        request.cache.discard(kernels)
        request.cache.artifact(*place, build=build)
    return compiled[-1] if compiled else session


def _key_on_gpu(request: Request, engine: Artifact) -> Key:
    # Kernels that were compiled at load are of no use to another driver.
    machine = {"gpu": request.gpu, "driver": nvidia_driver()}
    return {**request.key, **machine, "engine": hashlib.sha256(engine.path.read_bytes()).hexdigest()}
