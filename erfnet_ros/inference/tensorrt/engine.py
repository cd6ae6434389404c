"""TensorRT engine: the Pipeline on an NVIDIA GPU."""

from __future__ import annotations

import importlib.util
import threading
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import ClassVar

import torch

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import EngineError
from erfnet_ros.inference.build_cache import Artifact, Cache
from erfnet_ros.inference.device import gpu_count, gpu_index
from erfnet_ros.inference.engine import EngineRequest, run_one_by_one
from erfnet_ros.inference.pytorch.cuda import free_cached
from erfnet_ros.inference.pytorch.engine import PyTorchEngine
from erfnet_ros.inference.tensorrt.api import NAMES, find_backend
from erfnet_ros.inference.tensorrt.build import PRECISIONS, Request, build_engine, is_built, log_progress
from erfnet_ros.inference.tensorrt.session import Session, open_session

Shape = tuple[int, int, int]
"""Images at a time, height, width."""

_LOADED = 8
"""Most engines that stay loaded, one for each size and number of images: the last used."""


class BackgroundBuild:
    """Build an engine into the cache on a daemon thread, which does not delay the end of the process."""

    def __init__(self, request: Request) -> None:
        self._progress = log_progress(request)
        self._stopped = threading.Event()
        self._future: Future[Artifact] = Future()
        threading.Thread(target=self._run, args=(request,), name="erfnet_build", daemon=True).start()

    @property
    def done(self) -> bool:
        """Whether `result` returns at once."""
        return self._future.done()

    def result(self) -> Artifact:
        """Return the engine's file; raise EngineError where it could not be built."""
        try:
            return self._future.result()
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(f"Internal error, {type(error).__name__}: {error}; please report it.") from error

    def stop(self) -> None:
        """Let the build end at its next step, without waiting for it."""
        self._stopped.set()

    def _run(self, request: Request) -> None:
        try:
            self._future.set_result(build_engine(request, self._report))
        except BaseException as error:  # raised by `result`
            self._future.set_exception(error)

    def _report(self, done: float) -> None:
        if self._stopped.is_set():
            raise EngineError("The build was stopped: its engine was closed.")
        self._progress(done)


class TensorRTEngine:
    """See `erfnet_ros.inference.engine.Engine`; precision auto is fp16.

    Each size and each number of images has an engine of its own: built the first time, taken from the cache later.
    Several images at once run one by one where the cache lacks their engine (`erfnet build-engine --batch`).

    Raises:
        EngineError: TensorRT is not installed, there is no GPU, int8 was asked for without a calibrated checkpoint, or
            the network cannot be built or disagrees with PyTorch.
    """

    name = "tensorrt"
    distributions: ClassVar[tuple[str, ...]] = ("tensorrt", "tensorrt-rtx")
    computes_with_onednn: ClassVar[bool] = False

    def __init__(self, request: EngineRequest, cache: Cache | None = None) -> None:
        self.precision = pick_precision(request.precision)
        self._backend = find_backend()
        self._device = pick_gpu(request.device)
        self.device = str(self._device)
        self.notes: tuple[str, ...] = ()
        self._request = request
        self._cache = cache or Cache()
        self._sessions: dict[Shape, Session] = {}
        self._one_by_one: set[Shape] = set()
        self._builds: dict[Shape, BackgroundBuild] = {}
        self._meanwhile: PyTorchEngine | None = None
        # What this GPU does not run must fail here, where another engine can still take its place.
        width, height = request.checkpoint.input_size
        self._session((1, height, width))

    @staticmethod
    def is_candidate(request: EngineRequest, device: torch.device) -> bool:
        """See `erfnet_ros.inference.engine.EngineType`."""
        return device.type == "cuda" and any(importlib.util.find_spec(name) for name in NAMES)

    def __call__(self, images: Pixels) -> tuple[Pixels, Pixels]:
        """See `erfnet_ros.inference.engine.Engine`."""
        count, height, width = images.shape[:3]
        if count == 1 or self._has_batch((count, height, width)):
            return self._run((count, height, width), images)
        return run_one_by_one(partial(self._run, (1, height, width)), images)

    def close(self) -> None:
        """Free the engines' memory, and the GPU's that PyTorch caches."""
        for build in self._builds.values():
            build.stop()
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()
        self._end_meanwhile()
        free_cached()

    def _has_batch(self, shape: Shape) -> bool:
        if shape in self._sessions:
            return True
        if shape in self._one_by_one:
            return False
        if is_built(self._build_request(shape)):
            return True
        self._one_by_one.add(shape)
        count, height, width = shape
        self.notes += (
            f"{count} images of {width}x{height} run one after the other on TensorRT; for an engine that takes them "
            f"together: erfnet build-engine --batch {count} --size {width}x{height}",
        )
        return False

    def _run(self, shape: Shape, images: Pixels) -> tuple[Pixels, Pixels]:
        if self._request.live and shape not in self._sessions and not self._is_ready(shape):
            if self._meanwhile is None:
                self._meanwhile = PyTorchEngine(replace(self._request, device=self.device, precision="auto"))
            return self._meanwhile(images)
        return self._session(shape)(images)

    def _is_ready(self, shape: Shape) -> bool:
        """Tell whether a size's engine is in the cache; where it is not, it is built in the background.

        Only building happens there: opening captures a CUDA graph, which another thread's frames would disturb.
        """
        request, build = self._build_request(shape), self._builds.get(shape)
        if build is not None:
            if not build.done:
                return False
            del self._builds[shape]
            self.notes = tuple(note for note in self.notes if note != _being_built(request, self.device))
            build.result()
            if not self._builds:
                self._end_meanwhile()
            return True
        if is_built(request):
            return True
        self.notes += (_being_built(request, self.device),)
        self._builds[shape] = BackgroundBuild(request)
        return False

    def _end_meanwhile(self) -> None:
        if self._meanwhile is not None:
            self._meanwhile.close()
            self._meanwhile = None

    def _session(self, shape: Shape) -> Session:
        session = self._sessions.pop(shape, None) or self._opened(shape)
        self._sessions[shape] = session
        while len(self._sessions) > _LOADED:
            self._sessions.pop(next(iter(self._sessions))).close()
        return session

    def _build_request(self, shape: Shape) -> Request:
        count, height, width = shape
        return Request(
            checkpoint=self._request.checkpoint,
            camera=(width, height),
            input_size=self._request.input_size,
            precision=self.precision,
            batch=count,
            backend=self._backend,
            cache=self._cache,
            device=self._device,
        )

    def _opened(self, shape: Shape) -> Session:
        request = self._build_request(shape)
        opened = open_session(request, log_progress(request))
        self.notes += tuple(note for note in opened.notes if note not in self.notes)
        return opened.session


def _being_built(request: Request, device: str) -> str:
    width, height = request.camera
    return (
        f"PyTorch on {device} runs while TensorRT builds its engine for {request.images}, once; to build it "
        f"beforehand: erfnet build-engine --size {width}x{height}"
    )


def pick_precision(precision: str) -> str:
    """Return the precision that the option names; raise EngineError where TensorRT lacks it."""
    if precision == "auto":
        return PRECISIONS[0]
    if precision not in PRECISIONS:
        raise EngineError(
            f"Expected a precision that TensorRT has for every layer ({', '.join(PRECISIONS)}), got '{precision}'; "
            "set precision to auto, or engine to pytorch."
        )
    return precision


def pick_gpu(device: str) -> torch.device:
    """Return the GPU that the option names; raise EngineError where there is no such GPU."""
    if device == "cpu":
        raise EngineError("Engine 'tensorrt' runs on NVIDIA GPUs, got device 'cpu'; set device or engine to auto.")
    index, count = gpu_index("cuda" if device == "auto" else device), gpu_count()
    if index >= count:
        seen = f"{count} GPU(s)" if count else "no GPU"
        build = f"PyTorch {torch.__version__}" + ("" if torch.version.cuda else ", a CPU build,")
        raise EngineError(
            f"Engine 'tensorrt' needs an NVIDIA GPU, its driver and a PyTorch for CUDA for device '{device}', got "
            f"{build} that sees {seen}; set engine to auto, or device to one that is there."
        )
    return torch.device("cuda", index)
