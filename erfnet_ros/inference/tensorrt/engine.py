"""TensorRT runs the Pipeline on an NVIDIA GPU."""

from __future__ import annotations

import re

import numpy as np
import torch

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import EngineError
from erfnet_ros.inference.build_cache import Cache
from erfnet_ros.inference.engine import DEVICES
from erfnet_ros.inference.engine import PRECISIONS as ALL_PRECISIONS
from erfnet_ros.inference.pytorch.cuda import free_cached
from erfnet_ros.inference.pytorch.engine import PyTorchEngine
from erfnet_ros.inference.tensorrt.api import find_backend
from erfnet_ros.inference.tensorrt.background_build import BackgroundBuild
from erfnet_ros.inference.tensorrt.build import PRECISIONS, Request, is_built
from erfnet_ros.inference.tensorrt.load import Opened, open_session
from erfnet_ros.inference.tensorrt.progress import into_the_log
from erfnet_ros.inference.tensorrt.session import Session
from erfnet_ros.models.checkpoint import Checkpoint

Shape = tuple[int, int, int]
"""Images at a time, height, width."""

_LOADED = 8
"""Most engines that stay loaded, one for each size and number of images: the last used."""


class TensorRTEngine:
    """See `erfnet_ros.inference.factory.Engine` and `open_engine`.

    Each size and each number of images has an engine of its own: built the first time, taken from the cache later.
    Several images at once run one by one where the cache lacks their engine (`erfnet build-engine --batch`).

    Args:
        checkpoint: What to run.
        device: auto, cuda or cuda:N.
        precision: auto (fp16), fp16, fp32 or int8.
        input_size: (width, height) that the network sees, or None to follow camera and training.
        cache: Where engines are kept.
        live: Frames must not wait: where the cache lacks an engine for their size, PyTorch answers while it is built.

    Raises:
        EngineError: TensorRT is not installed, there is no GPU, int8 was asked for without a calibrated checkpoint, or
            the network cannot be built or answers otherwise than PyTorch.
    """

    name = "tensorrt"

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str = "auto",
        precision: str = "auto",
        input_size: tuple[int, int] | None = None,
        cache: Cache | None = None,
        live: bool = False,
    ) -> None:
        self.precision = pick_precision(precision)
        self._backend = find_backend()
        self._device = pick_gpu(device)
        self.device = str(self._device)
        self.notes: tuple[str, ...] = ()
        self._checkpoint, self._input_size = checkpoint, input_size
        self._cache = cache or Cache()
        self._sessions: dict[Shape, Session] = {}
        self._one_by_one: set[Shape] = set()
        self._live = live
        self._builds: dict[Shape, BackgroundBuild[Opened]] = {}
        self._meanwhile: PyTorchEngine | None = None
        # What this GPU does not run must show here, where another engine can still take its place.
        width, height = checkpoint.input_size
        self._session((1, height, width))

    def __call__(self, images: Pixels) -> tuple[Pixels, Pixels]:
        """See `erfnet_ros.inference.factory.Engine`."""
        count, height, width = images.shape[:3]
        if count == 1 or self._has_batch((count, height, width)):
            return self._run((count, height, width), images)
        one = (1, height, width)
        labels, confidences = zip(*(self._run(one, images[index : index + 1]) for index in range(count)), strict=True)
        return np.concatenate(labels), np.concatenate(confidences)

    def close(self) -> None:
        """Free the engines' memory, and the GPU's that PyTorch keeps for later."""
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
        if is_built(self._request(shape), self._backend, self._cache):
            return True
        self._one_by_one.add(shape)
        count, height, width = shape
        self.notes += (
            f"{count} images of {width}x{height} run one after the other on TensorRT; for an engine that takes them "
            f"together: erfnet build-engine --batch {count} --size {width}x{height}",
        )
        return False

    def _run(self, shape: Shape, images: Pixels) -> tuple[Pixels, Pixels]:
        if self._live and shape not in self._sessions and not self._is_ready(shape):
            if self._meanwhile is None:
                self._meanwhile = PyTorchEngine(self._checkpoint, self.device, "auto", self._input_size)
            return self._meanwhile(images)
        return self._session(shape)(images)

    def _is_ready(self, shape: Shape) -> bool:
        """Tell whether a size's engine can be had at once; where it cannot, it is built beside.

        Raises:
            EngineError: It was built beside, in vain.
        """
        request, build = self._request(shape), self._builds.get(shape)
        if build is not None:
            if not build.done:
                return False
            del self._builds[shape]
            self.notes = tuple(note for note in self.notes if note != _being_built(request, self.device))
            self._sessions[shape] = self._kept(build.result())
            if not self._builds:
                self._end_meanwhile()
            return True
        if is_built(request, self._backend, self._cache):
            return True
        self.notes += (_being_built(request, self.device),)
        self._builds[shape] = BackgroundBuild(
            lambda progress: open_session(request, self._backend, self._device, self._cache, progress),
            into_the_log(f"Building the TensorRT engine for {request.images}"),
        )
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

    def _request(self, shape: Shape) -> Request:
        count, height, width = shape
        return Request(
            self._checkpoint, (width, height), self._input_size, self.precision, count, gpu_title(self._device)
        )

    def _opened(self, shape: Shape) -> Session:
        request = self._request(shape)
        progress = into_the_log(f"Building the TensorRT engine for {request.images}")
        return self._kept(open_session(request, self._backend, self._device, self._cache, progress))

    def _kept(self, opened: Opened) -> Session:
        self.notes += tuple(note for note in opened.notes if note not in self.notes)
        return opened.session


def _being_built(request: Request, device: str) -> str:
    width, height = request.camera
    return (
        f"PyTorch on {device} answers while TensorRT builds its engine for {request.images}, once; to have it "
        f"beforehand: erfnet build-engine --size {width}x{height}"
    )


def pick_precision(precision: str) -> str:
    """Turn the user's word into a precision that TensorRT builds the network in.

    Raises:
        EngineError: The word is unknown, or none of TensorRT's.
    """
    if precision == "auto":
        return PRECISIONS[0]
    if precision not in ALL_PRECISIONS:
        raise EngineError(f"Expected precision to be one of {', '.join(ALL_PRECISIONS)}, got '{precision}'.")
    if precision not in PRECISIONS:
        raise EngineError(
            f"Expected a precision that TensorRT has for every layer ({', '.join(PRECISIONS)}), got '{precision}'; "
            "set precision to auto, or engine to pytorch."
        )
    return precision


def pick_gpu(device: str) -> torch.device:
    """Turn the user's word into a GPU that is there.

    Raises:
        EngineError: The word is unknown, is the CPU, or there is no such GPU.
    """
    match = re.fullmatch(r"cuda(?::(\d+))?", "cuda" if device == "auto" else device)
    if device == "cpu":
        raise EngineError("Engine 'tensorrt' runs on NVIDIA GPUs, got device 'cpu'; set device or engine to auto.")
    if match is None:
        raise EngineError(f"Expected device to be {DEVICES}, got '{device}'.")
    index, count = int(match[1] or 0), gpu_count()
    if index >= count:
        seen = f"{count} GPU(s)" if count else "no GPU"
        build = f"PyTorch {torch.__version__}" + ("" if torch.version.cuda else ", a CPU build,")
        raise EngineError(
            f"Engine 'tensorrt' needs an NVIDIA GPU, its driver and a PyTorch for CUDA for device '{device}', got "
            f"{build} that sees {seen}; set engine to auto, or device to one that is there."
        )
    return torch.device("cuda", index)


def gpu_count() -> int:
    """Return how many GPUs PyTorch can use."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def gpu_title(device: torch.device) -> str:
    """Return a GPU's name and compute capability."""
    major, minor = torch.cuda.get_device_capability(device)
    return f"{torch.cuda.get_device_name(device)}, compute capability {major}.{minor}"
