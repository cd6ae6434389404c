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
from erfnet_ros.inference.build_cache import Cache
from erfnet_ros.inference.device import gpu_count, gpu_index
from erfnet_ros.inference.engine import EngineRequest, preparation, run_one_by_one
from erfnet_ros.inference.pytorch.cuda import LOADING_LOCK, free_cached
from erfnet_ros.inference.pytorch.engine import PyTorchEngine
from erfnet_ros.inference.tensorrt.api import NAMES, find_backend
from erfnet_ros.inference.tensorrt.build import PRECISIONS, Request, is_built, log_progress
from erfnet_ros.inference.tensorrt.session import Opened, Session, is_checked, open_session

Shape = tuple[int, int, int]
"""Images at a time, height, width."""

_LOADED = 8
"""Most engines that stay loaded, one for each size and number of images: the last used."""


class BackgroundOpening:
    """Build, load and check an engine on a daemon thread, which does not delay the end of the process.

    Its CUDA graph is captured by the thread that runs it, at its first frame.

    Args:
        request: What the engine is for.
        device: What runs meanwhile, for the note.

    Attributes:
        note: What goes on, and how to have it done beforehand.
    """

    def __init__(self, request: Request, device: str) -> None:
        does = "loads" if is_built(request) else "builds"
        width, height = request.camera
        self.note = (
            f"PyTorch on {device} runs while TensorRT {does} its engine for {request.images}, once; to have it ready "
            f"beforehand: erfnet build-engine --size {width}x{height}"
        )
        self._progress = log_progress(request)
        self._stopped = threading.Event()
        self._future: Future[Opened] = Future()
        threading.Thread(target=self._run, args=(request,), name="erfnet_build", daemon=True).start()

    @property
    def done(self) -> bool:
        """Whether `result` returns at once."""
        return self._future.done()

    def result(self) -> Opened:
        """Return the engine; raise EngineError where it could not be built or loaded, or disagrees with PyTorch."""
        try:
            return self._future.result()
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(f"Internal error, {type(error).__name__}: {error}; please report it.") from error

    def stop(self) -> None:
        """Let a build end at its next step, without waiting for it; what is being loaded is dropped."""
        self._stopped.set()

    def _run(self, request: Request) -> None:
        try:
            with LOADING_LOCK:
                self._report(0.0)
                opened = open_session(request, self._report)
            if self._stopped.is_set():
                opened.session.close()
            self._future.set_result(opened)
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
        self._openings: dict[Shape, BackgroundOpening] = {}
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
        for opening in self._openings.values():
            opening.stop()
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
        if self._request.live and shape not in self._sessions and not self._may_open(shape):
            if self._meanwhile is None:
                with preparation():
                    self._meanwhile = PyTorchEngine(replace(self._request, device=self.device, precision="auto"))
            return self._meanwhile(images)
        session = self._session(shape)
        answer = session(images)
        # Its CUDA graph may have failed at this frame.
        self._note(session.notes)
        return answer

    def _may_open(self, shape: Shape) -> bool:
        """Tell whether a size's engine opens at once; where it does not, it is opened in the background."""
        opening = self._openings.get(shape)
        if opening is None:
            request = self._build_request(shape)
            if is_checked(request):
                return True
            opening = self._openings[shape] = BackgroundOpening(request, self.device)
            self._note((opening.note,))
            return False
        if not opening.done:
            return False
        del self._openings[shape]
        self.notes = tuple(note for note in self.notes if note != opening.note)
        opened = opening.result()
        self._note(opened.notes)
        self._sessions[shape] = opened.session
        if not self._openings:
            self._end_meanwhile()
        return True

    def _note(self, notes: tuple[str, ...]) -> None:
        self.notes += tuple(note for note in notes if note not in self.notes)

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

    @preparation()
    def _opened(self, shape: Shape) -> Session:
        request = self._build_request(shape)
        opened = open_session(request, log_progress(request))
        self._note(opened.notes)
        return opened.session


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
