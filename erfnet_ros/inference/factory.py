"""Engine factory: the table of engines, and opening one with the engines that take over where it fails."""

from __future__ import annotations

import argparse
import pkgutil
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from erfnet_ros.core.errors import DeviceError, EngineError
from erfnet_ros.inference.engine import DEVICES, PRECISIONS, Engine, EngineRequest, optional_faults

if TYPE_CHECKING:
    # Launch files read the engines' names, and must not wait for torch.
    from erfnet_ros.inference.engine import EngineType

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
        return FallbackEngine(on_cpu(), [], f"The GPU is not used, which is slower. {error}")
    if opened.device == "cpu":
        if request.device == "auto" and (note := unused_gpu()):
            opened.notes += (note,)
        return opened
    on_same_gpu = partial(engine_type("pytorch"), replace(request, device=opened.device, precision="auto"))
    return FallbackEngine(opened, [on_cpu] if opened.name == "pytorch" else [on_same_gpu, on_cpu])


def _open(request: EngineRequest, name: str) -> Engine:
    with optional_faults(name):
        return engine_type(name)(request)


def _fastest(request: EngineRequest) -> Engine:
    from erfnet_ros.inference.auto_select import machine_key, open_fastest
    from erfnet_ros.inference.device import pick_device

    device = pick_device(request.device)
    types = {name: engine_type(name) for name in _CLASSES}
    candidates, notes = [], []
    for name in [name for name in types if name != "pytorch"]:
        try:
            with optional_faults(name):
                if types[name].is_candidate(request, device):
                    candidates.append(name)
        except EngineError as error:
            notes.append(f"Engine {name} is left out: {error}")
    distributions = [each for name in types for each in types[name].distributions]
    key = {"precision": request.precision, **machine_key(device, distributions)}
    openers = {name: partial(_open, request, name) for name in (*candidates, "pytorch")}
    engine = open_fastest(openers, key, request.checkpoint.input_size)
    engine.notes += (*notes,)
    return engine
