"""Engine factory: the table of engines, and opening one with the engines that take over where it fails."""

from __future__ import annotations

import argparse
import logging
import pkgutil
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from erfnet_ros.core.errors import DeviceError, EngineError
from erfnet_ros.inference.engine import DEVICES, PRECISIONS, Engine, EngineRequest

if TYPE_CHECKING:
    # Launch files read the engines' names, and must not wait for torch.
    from erfnet_ros.inference.engine import EngineType

log = logging.getLogger(__name__)

_CLASSES = {
    "pytorch": "erfnet_ros.inference.pytorch.engine:PyTorchEngine",
    "onnxruntime": "erfnet_ros.inference.onnxruntime:OnnxRuntimeEngine",
    "openvino": "erfnet_ros.inference.openvino:OpenVinoEngine",
    "tensorrt": "erfnet_ros.inference.tensorrt.engine:TensorRTEngine",
}
"""The class of each engine, imported when it is wanted. PyTorch is always there; the others are optional."""

ENGINES = ("auto", *_CLASSES)


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add --engine, --device and --precision."""
    for name, choices in (("engine", ", ".join(ENGINES)), ("device", DEVICES), ("precision", ", ".join(PRECISIONS))):
        parser.add_argument(f"--{name}", default="auto", help=f"{choices} (default: auto)")


def engine_type(name: str) -> EngineType:
    """Return the class of an engine, by one of `ENGINES` but auto."""
    found: EngineType = pkgutil.resolve_name(_CLASSES[name])
    return found


def open_engine(request: EngineRequest, engine: str = "auto") -> Engine:
    """Open one of `ENGINES`. Where one on a GPU fails later, PyTorch on that GPU takes over, or on the CPU.

    auto measures those that are installed, at the first start, and remembers the result.

    Raises:
        EngineError: The engine, the device or the precision is unknown or not available on this machine. A GPU that
            was not asked for by name, and fails, is no error: PyTorch runs on the CPU, with a note.
    """
    if engine not in ENGINES:
        raise EngineError(f"Expected engine to be one of {', '.join(ENGINES)}, got '{engine}'.")
    from erfnet_ros.inference.device import unused_gpu
    from erfnet_ros.inference.fallback import FallbackEngine

    # A GPU's precision need not be a CPU's.
    on_cpu = partial(engine_type("pytorch"), replace(request, device="cpu", precision="auto"))
    try:
        opened = _fastest(request) if engine == "auto" else _open(request, engine)
    except DeviceError as error:
        if engine not in ("auto", "pytorch") or request.device != "auto":
            raise
        opened = on_cpu()
        opened.notes += (f"The GPU is not used, which is slower. {error}",)
    if opened.device == "cpu":
        if request.device == "auto" and (note := unused_gpu()):
            opened.notes += (note,)
        return opened
    on_same_gpu = partial(engine_type("pytorch"), replace(request, device=opened.device, precision="auto"))
    return FallbackEngine(opened, [on_cpu] if opened.name == "pytorch" else [on_same_gpu, on_cpu])


def _open(request: EngineRequest, name: str) -> Engine:
    """Open one engine; whatever an optional one raises is an EngineError."""
    try:
        return engine_type(name)(request)
    except EngineError:
        raise
    except Exception as error:
        if name == "pytorch":
            raise
        log.debug("Opening engine %s failed.", name, exc_info=True)
        reason = str(error).partition("\n")[0]
        raise EngineError(
            f"Engine '{name}' does not work with the packages installed here ({type(error).__name__}: {reason}); "
            "update them, or set engine to pytorch."
        ) from error


def _fastest(request: EngineRequest) -> Engine:
    from erfnet_ros.inference.auto_select import machine_key, open_fastest
    from erfnet_ros.inference.device import pick_device

    device = pick_device(request.device)
    types = {name: engine_type(name) for name in _CLASSES}
    names = [name for name in types if name != "pytorch" and types[name].is_candidate(request, device)] + ["pytorch"]
    distributions = [each for name in types for each in types[name].distributions]
    key = {"precision": request.precision, **machine_key(device, distributions)}
    return open_fastest({name: partial(_open, request, name) for name in names}, key, request.checkpoint.input_size)
