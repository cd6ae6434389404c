"""A TensorRT engine ready for use: built or from the cache, loaded, and held against PyTorch."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import EngineError
from erfnet_ros.inference.build_cache import Artifact, Cache
from erfnet_ros.inference.parity_check import check_parity
from erfnet_ros.inference.tensorrt.api import Backend
from erfnet_ros.inference.tensorrt.build import Request, build_engine
from erfnet_ros.inference.tensorrt.progress import Progress
from erfnet_ros.inference.tensorrt.session import RefusedError, Session
from erfnet_ros.models.pipeline import Pipeline

log = logging.getLogger(__name__)

Run = Callable[[Pixels], tuple[Pixels, Pixels]]


@dataclass(frozen=True)
class Opened:
    """An engine that was loaded and checked.

    Attributes:
        session: Runs it.
        engine: Its file.
        agreement: Share of the pixels on which it chooses PyTorch's class, 0..1.
        notes: What went otherwise than usual, a sentence each.
    """

    session: Session
    engine: Artifact
    agreement: float
    notes: tuple[str, ...]


def open_session(request: Request, backend: Backend, device: torch.device, cache: Cache, progress: Progress) -> Opened:
    """Load an engine, built and held against PyTorch if that has not been done before.

    Raises:
        EngineError: It cannot be built or loaded, or answers otherwise than PyTorch; then it is not kept.
    """
    engine = build_engine(request, backend, cache, progress)
    try:
        session = _loaded(request, backend, engine, device, cache)
    except RefusedError:
        cache.discard(engine)
        if engine.built:
            raise
        engine = build_engine(request, backend, cache, progress)
        session = _loaded(request, backend, engine, device, cache)
    if engine.built:
        seconds = engine.facts["seconds"]
        log.info("TensorRT built an engine for %s in %.0f s; it is kept at %s.", request.images, seconds, engine.path)
    checked = check_once(request, backend, engine, session, cache)
    return Opened(session, engine, checked.facts["agreement"], (*engine.notes, *session.notes, *checked.notes))


def check_once(request: Request, backend: Backend, engine: Artifact, run: Run, cache: Cache) -> Artifact:
    """Hold an engine against PyTorch in fp32, unless this very one has been on this GPU; the figure is kept.

    Args:
        request: What it was built for.
        backend: Who built it.
        engine: Its file.
        run: The engine, loaded: (N, H, W, 3) uint8 in, labels and confidences out.
        cache: Where the figure is kept, as the fact "agreement".

    Raises:
        EngineError: It chooses another class too often; the engine is removed from the cache.
    """
    width, height = request.camera
    name = f"{backend.title} ({request.precision}, {width}x{height})"

    def first_of_batch(image: Pixels) -> tuple[Pixels, Pixels]:
        labels, confidences = run(np.repeat(image, request.batch, axis=0))
        return labels[-1:], confidences[-1:]

    def build(path: Path) -> Mapping[str, Any]:
        pipeline = Pipeline(request.checkpoint, request.input_size).eval()
        facts = {"agreement": check_parity(name, first_of_batch, pipeline, [request.camera])}
        path.write_text(json.dumps(facts) + "\n")
        return facts

    digest = hashlib.sha256(engine.path.read_bytes()).hexdigest()
    key = {**request.key(backend), "gpu": request.gpu, "engine": digest}
    try:
        return cache.artifact("tensorrt-agreement", key, "json", build)
    except EngineError:
        cache.discard(engine)
        raise


def _loaded(request: Request, backend: Backend, engine: Artifact, device: torch.device, cache: Cache) -> Session:
    """Load an engine, with the kernels that were compiled for it before where its backend compiles them at load."""
    plan = engine.path.read_bytes()
    width, height = request.camera
    shape = (request.batch, height, width)
    if not backend.compiles_at_load:
        return Session(backend, plan, shape, device, None)
    compiled: list[Session] = []

    def build(path: Path) -> Mapping[str, Any]:
        compiled.append(Session(backend, plan, shape, device, None))
        path.write_bytes(compiled[-1].kernels())
        return {}

    key = {**request.key(backend), "gpu": request.gpu, "engine": hashlib.sha256(plan).hexdigest()}
    kernels = cache.artifact("tensorrt-kernels", key, "bin", build)
    if not compiled:
        session = Session(backend, plan, shape, device, kernels.path.read_bytes())
        if session.fitting:
            return session
        # Of another driver.
        cache.discard(kernels)
        cache.artifact("tensorrt-kernels", key, "bin", build)
    return compiled[-1] if compiled else session
