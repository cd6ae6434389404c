"""Who runs the Pipeline. An engine's contract: uint8 images in, uint8 labels and confidence out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from erfnet_ros.core.errors import DeviceError, EngineError
from erfnet_ros.inference.engine import ENGINES, Engine

if TYPE_CHECKING:
    # Launch files read the engines' names, and must not wait for torch.
    from erfnet_ros.inference.tensorrt.engine import TensorRTEngine
    from erfnet_ros.models.checkpoint import Checkpoint

__all__ = ["Engine", "open_engine"]


def open_engine(
    checkpoint: Checkpoint,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    input_size: tuple[int, int] | None = None,
    live: bool = False,
) -> Engine:
    """Load a checkpoint into an engine. Where one on a GPU fails later, PyTorch there, or on the CPU, takes over.

    Args:
        checkpoint: What to run.
        engine: One of `ENGINES`; auto measures those that are installed, at the first start, and remembers.
        device: auto (a GPU where there is one), cpu, cuda or cuda:N.
        precision: auto (the fastest that the device computes natively and that answers as fp32 does), fp32, fp16, bf16
            or int8.
        input_size: (width, height) that the network sees, or None to follow camera and training.
        live: Frames must not wait: what takes minutes to build for a size of theirs is built while PyTorch answers.

    Raises:
        EngineError: One of them is unknown or not to be had on this machine. A GPU that was not asked for by name, and
            fails, is no error: PyTorch runs on the CPU, with a note.
    """
    if engine not in ENGINES:
        raise EngineError(f"Expected engine to be one of {', '.join(ENGINES)}, got '{engine}'.")
    from erfnet_ros.inference.device import pick_device
    from erfnet_ros.inference.fallback import FallbackEngine

    def open_one(name: str) -> Engine:
        if name == "tensorrt":
            return _tensorrt()(checkpoint, device, precision, input_size, live=live)
        return _ENGINES[name]()(checkpoint, device, precision, input_size)

    def on_cpu() -> Engine:
        # A GPU's precision need not be a CPU's.
        return _pytorch()(checkpoint, "cpu", "auto", input_size)

    try:
        if engine == "auto":
            from erfnet_ros.inference.auto_select import candidates, open_fastest

            place = pick_device(device)
            names = candidates(place, precision, checkpoint.calibration)
            opened = open_fastest(names, open_one, place, precision, checkpoint.input_size)
        else:
            opened = open_one(engine)
    except DeviceError as error:
        if engine == "tensorrt" or device != "auto":
            raise
        opened = on_cpu()
        opened.notes += (f"The GPU is not used, which is slower. {error}",)
    if opened.device == "cpu":
        return opened

    def on_same_gpu() -> Engine:
        return _pytorch()(checkpoint, opened.device, "auto", input_size)

    return FallbackEngine(opened, [on_cpu] if opened.name == "pytorch" else [on_same_gpu, on_cpu])


class _Opener(Protocol):
    def __call__(
        self, checkpoint: Checkpoint, device: str, precision: str, input_size: tuple[int, int] | None
    ) -> Engine: ...


def _pytorch() -> _Opener:
    from erfnet_ros.inference.pytorch.engine import PyTorchEngine

    return PyTorchEngine


def _onnxruntime() -> _Opener:
    from erfnet_ros.inference.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine


def _tensorrt() -> type[TensorRTEngine]:
    from erfnet_ros.inference.tensorrt.engine import TensorRTEngine

    return TensorRTEngine


# Opened one by one: none of their libraries is imported before it is wanted.
_ENGINES: dict[str, Callable[[], _Opener]] = {"pytorch": _pytorch, "onnxruntime": _onnxruntime, "tensorrt": _tensorrt}
