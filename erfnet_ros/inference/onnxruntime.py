"""ONNX Runtime engine: the network on a CPU, the whole Pipeline on an NVIDIA GPU."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy.typing as npt
import torch
from torch import Tensor

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import EngineError, ExportError
from erfnet_ros.core.image import contiguous_batch
from erfnet_ros.inference import device as devices
from erfnet_ros.inference.build_cache import Cache
from erfnet_ros.inference.engine import EngineRequest, Run, preparation, run_one_by_one
from erfnet_ros.inference.parity_check import check_parity, fingerprint
from erfnet_ros.inference.pytorch.cpu import CpuPipeline, on_single_thread
from erfnet_ros.models.erfnet import STRIDE
from erfnet_ros.models.onnx import export
from erfnet_ros.models.pipeline import Pipeline, network_size

log = logging.getLogger(__name__)

Size = tuple[int, int]

INSTALL = "pip install 'erfnet_ros[onnx]', or '.[onnx]' in a checkout"

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""ONNX Runtime's name of what computes on a type of device."""

_GRAPH = 3
"""Version of the graphs: raised when the graph of a given key changes, so that cached ones are built again."""


class OnnxRuntimeEngine:
    """See `erfnet_ros.inference.engine.Engine`; precision auto is fp16 on a GPU, else fp32.

    On the CPU the graph gives the network's logits, and `CpuPipeline` does the rest; on a GPU, from which logits would
    take long to copy, it gives labels. One graph serves images of any size; on a GPU, a network trained at a size that
    8 does not divide gets a graph for each size.

    Raises:
        EngineError: ONNX Runtime is not installed, lacks the device or the precision, or disagrees with PyTorch.
    """

    name = "onnxruntime"
    distributions: ClassVar[tuple[str, ...]] = ("onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu")
    computes_with_onednn: ClassVar[bool] = False

    def __init__(self, request: EngineRequest, cache: Cache | None = None) -> None:
        self._runtime = _onnxruntime()
        self._checkpoint, self._input_size = request.checkpoint, request.input_size
        self._fingerprint = fingerprint(request.checkpoint)
        self._cache = cache or Cache()
        self._runs: dict[Size | None, Run] = {}
        self.notes: tuple[str, ...] = ()
        candidates = find_devices(request.device, self._runtime.get_available_providers())
        for candidate in candidates:
            self.device, self._device = str(candidate), candidate
            self.precision = pick_precision(request.precision, candidate)
            self._provider = _PROVIDERS[candidate.type]
            try:
                self._run_for(request.checkpoint.input_size)
                if is_whole(candidate):
                    self.notes += argmax_notes(self._runtime.__version__)
                break
            except _ProviderError as error:
                if candidate is candidates[-1]:
                    raise EngineError(f"{error}; set device to auto or cpu, or engine to pytorch.") from error
                self.notes += (f"{error}, so the next best is used.",)

    @staticmethod
    def is_candidate(request: EngineRequest, device: torch.device) -> bool:
        """See `EngineType`; int8, bf16 and oneDNN's fused layers were faster wherever they were measured."""
        if device.type == "cuda" or importlib.util.find_spec("onnxruntime") is None:
            return False
        precision, _ = devices.pick_precision(request.precision, device, request.checkpoint.calibration)
        return precision == "fp32" and not devices.has_fused_layers()

    def __call__(self, images: Pixels) -> tuple[Pixels, Pixels]:
        """See `erfnet_ros.inference.engine.Engine`."""
        return self._run_for((images.shape[2], images.shape[1]))(images)

    def close(self) -> None:
        """Free the sessions, and with them the weights."""
        self._runs.clear()

    def _run_for(self, camera: Size) -> Run:
        """Return what runs images of a size, opened for the first of them."""
        wide, high = self._checkpoint.input_size
        follows = self._input_size is not None or not (wide % STRIDE or high % STRIDE)
        size = None if follows or not is_whole(self._device) else camera
        if size not in self._runs:
            self._runs[size] = self._opened(size)
        return self._runs[size]

    def _run_with(self, session: Any) -> Run:
        if is_whole(self._device):
            return partial(run_one_by_one, partial(self._labels, session))
        around = CpuPipeline(partial(self._logits, session), self._checkpoint.input_size, self._input_size)
        return partial(on_single_thread, around)

    def _labels(self, session: Any, image: Pixels) -> tuple[Pixels, Pixels]:
        labels, confidence = self._computed(session, image)
        return labels, confidence

    def _logits(self, session: Any, images: Tensor) -> list[Tensor]:
        return [torch.from_numpy(logits) for image in images for logits in self._computed(session, image[None].numpy())]

    def _computed(self, session: Any, image: Pixels) -> list[npt.NDArray[Any]]:
        """Return what a graph gives for (1, H, W, 3) uint8."""
        try:
            outputs: list[npt.NDArray[Any]] = session.run(None, {export.INPUT: contiguous_batch(image)})
        except Exception as error:  # ONNX Runtime's exceptions have no base of their own
            raise EngineError(
                f"ONNX Runtime failed on {self.device} with an image of {image.shape[2]}x{image.shape[1]}: "
                f"{_one_line(error)}; where memory ran out, set a smaller input_size."
            ) from error
        return outputs

    @preparation()
    def _opened(self, camera: Size | None) -> Run:
        key = {
            "network": self._fingerprint,
            "camera": _text(camera),
            # A graph of the network alone takes any.
            "input_size": _text(self._input_size if is_whole(self._device) else None),
            "precision": self.precision,
            "provider": self._provider,
            "onnxruntime": self._runtime.__version__,
            "torch": torch.__version__,
            "graph": _GRAPH,
        }

        artifact = self._cache.artifact("onnxruntime", key, "onnx", build=partial(self._build, camera))
        self.notes += artifact.notes
        return self._run_with(self._load(artifact.path))

    def _build(self, camera: Size | None, path: Path) -> Mapping[str, Any]:
        """Write the graph, run it, and compare it with PyTorch."""
        log.info("Writing the network as ONNX for %s; this is done once.", _text(camera) or "images of any size")
        try:
            if is_whole(self._device):
                model = export.build(self._checkpoint, camera, input_size=self._input_size, precision=self.precision)
            else:
                model = export.build_network(self._checkpoint)
        except ExportError as error:
            raise EngineError(f"The network cannot be written as ONNX: {error}") from error
        path.write_bytes(model.SerializeToString())
        run = self._run_with(self._load(path))
        agreed = check_parity(
            run,
            Pipeline(self._checkpoint, self._input_size).eval(),
            name=f"ONNX Runtime ({self._provider}, {self.precision})",
            sizes=[camera] if camera else self._checked_sizes(),
        )
        return {"agreement": agreed}

    def _checked_sizes(self) -> list[Size]:
        wide, high = trained = self._checkpoint.input_size
        if is_whole(self._device):
            # The size of the training, and one that is resized in both directions.
            return [trained, (wide + 5, max(STRIDE, high - 3))]
        # Sizes that need no resizing, landscape and portrait: resizing is not part of the graph.
        sizes = dict.fromkeys((trained, (high, wide), self._input_size or trained))
        return [size for size in sizes if network_size(size, trained, self._input_size) == size]

    def _load(self, path: Path) -> Any:
        """Open a graph with the provider, and without its fallback to others."""
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Threads that wait for the next frame must not use up the robot's processor.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 3
        gpu = {} if self._device.type == "cpu" else {"device_id": str(self._device.index)}
        try:
            session = self._runtime.InferenceSession(str(path), options, providers=[(self._provider, gpu)])
        except Exception as error:  # as in _computed
            raise _ProviderError(f"ONNX Runtime cannot use {self._provider}: {_one_line(error)}") from error
        if session.get_providers()[0] != self._provider:
            raise _ProviderError(
                f"ONNX Runtime {self._runtime.__version__} has {self._provider}, but not the libraries or the GPU "
                f"that it needs on {self.device}"
            )
        return session


class _ProviderError(EngineError):
    """A provider is installed, but does not work."""


def is_whole(device: torch.device) -> bool:
    """Tell whether a device's graph is the whole Pipeline: logits would take long to copy from a GPU."""
    return device.type == "cuda"


def argmax_notes(version: str) -> tuple[str, ...]:
    """Return a note where a version of ONNX Runtime has no ArgMax for GPUs, else nothing."""
    # https://github.com/microsoft/onnxruntime/pull/22713
    major, minor = (int(part) for part in version.split(".")[:2])
    if (major, minor) >= (1, 21):
        return ()
    return (
        f"ONNX Runtime {version} computes ArgMax on the CPU, which is slower: update onnxruntime-gpu to 1.21 or later.",
    )


def find_devices(device: str, available: list[str]) -> list[torch.device]:
    """Return the devices to try for the option, best first.

    `available` names the execution providers that this build of ONNX Runtime has.

    Raises:
        EngineError: The option is unknown, or this build has nothing for a GPU.
    """
    cpu = torch.device("cpu")
    if device == "cpu":
        return [cpu]
    gpu = torch.device("cuda", 0 if device == "auto" else devices.gpu_index(device))
    has_gpu = _PROVIDERS["cuda"] in available
    if device == "auto":
        return [gpu, cpu] if has_gpu else [cpu]
    if not has_gpu:
        raise EngineError(
            f"Device '{device}' was asked for, but this ONNX Runtime computes with {', '.join(available)} only; "
            "install onnxruntime-gpu in place of onnxruntime, or set device to auto or cpu."
        )
    return [gpu]


def pick_precision(precision: str, device: torch.device) -> str:
    """Return the precision that the option names; raise EngineError where ONNX Runtime lacks it there."""
    possible = ("fp32",) if device.type == "cpu" else ("fp16", "fp32")
    if precision == "auto":
        return possible[0]
    if precision not in possible:
        raise EngineError(
            f"Precision '{precision}' was asked for, but ONNX Runtime computes in {' or '.join(possible)} on "
            f"{device}; set precision to auto, or engine to pytorch."
        )
    return precision


def run_on_cpu(graph: bytes) -> Run:
    """Return what runs a serialized graph of the Pipeline on the CPU; raise EngineError where that is refused."""
    runtime = _onnxruntime()
    try:
        session = runtime.InferenceSession(graph, providers=[_PROVIDERS["cpu"]])
    except Exception as error:  # as in _computed
        raise EngineError(f"ONNX Runtime refuses the graph: {_one_line(error)}") from error
    return lambda images: tuple(session.run(list(export.OUTPUTS), {export.INPUT: images}))


def _onnxruntime() -> Any:
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError as error:
        raise EngineError(
            f"Engine 'onnxruntime' needs the packages onnx, onnxscript and onnxruntime, got none called "
            f"'{error.name or error}'; install them with: {INSTALL}; or set engine to auto."
        ) from error
    return onnxruntime


def _text(size: Size | None) -> str | None:
    return f"{size[0]}x{size[1]}" if size else None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
