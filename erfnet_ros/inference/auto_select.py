"""`engine: auto`: which of the engines that are here is the fastest on this machine, measured once and remembered."""

from __future__ import annotations

import importlib.util
import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from erfnet_ros.core.errors import DeviceError, EngineError
from erfnet_ros.core.system_info import nvidia_driver, processor, version_of
from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.inference.build_cache import Cache
from erfnet_ros.inference.device import has_fused_layers, pick_precision
from erfnet_ros.inference.engine import Engine
from erfnet_ros.inference.pytorch.cuda import close_safely
from erfnet_ros.models.checkpoint import Calibration

log = logging.getLogger(__name__)

Open = Callable[[str], Engine]

_WARM_UP, _TIMED = 2, 5
"""Frames of each engine."""

_WIN = 0.9
"""Share of the last engine's time that another may take at most to be chosen: less is noise."""

_MODULES = {"tensorrt": ("tensorrt", "tensorrt_rtx"), "onnxruntime": ("onnxruntime",)}
_DISTRIBUTIONS = ("torch", "tensorrt", "tensorrt-rtx", "onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu")
_KEPT = "choice"


def open_fastest(
    names: Sequence[str], open_one: Open, device: torch.device, precision: str, size: tuple[int, int]
) -> Engine:
    """Return the fastest of several engines; with one name that opens, that one, without measuring.

    Args:
        names: Engines to try; the last one stays unless another is faster by a tenth.
        open_one: Opens an engine by its name; its EngineError makes it one that is left out, with a note.
        device: Where they run.
        precision: What the user asked for; what is the fastest in one need not be in another.
        size: (width, height) of the frames to time.

    Raises:
        EngineError: The last one does not open either.
    """
    if len(names) == 1:
        return open_one(names[0])
    cache = Cache()
    opened: dict[str, Engine] = {}
    left_out: dict[str, EngineError] = {}

    def build(path: Path) -> Mapping[str, Any]:
        times: dict[str, float] = {}
        for name in names:
            try:
                opened[name] = open_one(name)
                times[name] = _median_ms(opened[name], size)
            except EngineError as error:
                left_out[name] = error
        if not times:
            # What is the matter with the last one decides whether a CPU may take its place.
            raise type(left_out[names[-1]])(" ".join(str(error) for error in left_out.values()))
        fastest = min(times, key=lambda name: times[name])
        if names[-1] in times and times[fastest] > _WIN * times[names[-1]]:
            fastest = names[-1]
        path.write_text("Which engine is the fastest here; see the facts beside.\n")
        reasons = {name: str(error) for name, error in left_out.items()}
        return {"engine": fastest, "times_ms": times, "left_out": reasons}

    key = {"engines": ",".join(names), "precision": precision, "size": f"{size[0]}x{size[1]}", **_machine(device)}
    try:
        choice = cache.artifact(_KEPT, key, "txt", build)
        name = choice.facts["engine"]
        chosen = opened.pop(name, None)
    finally:
        for other in opened.values():
            close_safely(other)
    try:
        engine = chosen or open_one(name)
    except EngineError as error:
        # Chosen in another life of this machine.
        cache.discard(choice)
        engine = open_fastest([other for other in names if other != name], open_one, device, precision, size)
        engine.notes += (_left_out(name, error),)
        return engine
    if any(isinstance(error, DeviceError) for error in left_out.values()):
        # Memory that is taken now may be free at the next start.
        cache.discard(choice)
    log.info(_why(choice.facts))
    others = (_left_out(name, reason) for name, reason in choice.facts["left_out"].items())
    engine.notes += (*choice.notes, *others)
    return engine


def candidates(device: torch.device, precision: str, calibration: Calibration | None) -> tuple[str, ...]:
    """Return the engines that are installed and worth trying for a device and precision, PyTorch last or alone.

    On a CPU, ONNX Runtime has a chance only against PyTorch's plain layers in fp32: bf16 and int8 are ahead of it
    wherever that was measured, and so are fused layers in fp32 where there is AVX-512.
    """
    if device.type == "cuda":
        return ("tensorrt", "pytorch") if _installed("tensorrt") else ("pytorch",)
    plain = pick_precision(precision, device, calibration)[0] == "fp32" and not has_fused_layers()
    return ("onnxruntime", "pytorch") if plain and _installed("onnxruntime") else ("pytorch",)


def _left_out(name: str, reason: object) -> str:
    return f"Engine {name} is left out: {reason}"


def _why(facts: Mapping[str, Any]) -> str:
    if len(facts["times_ms"]) == 1:
        return f"Engine {facts['engine']} is the only one that runs here."
    measured = ", ".join(f"{name} {milliseconds:.1f} ms" for name, milliseconds in facts["times_ms"].items())
    return f"Engine {facts['engine']} is the fastest here: {measured} per image, measured at first start."


def _median_ms(engine: Engine, size: tuple[int, int]) -> float:
    image = Street(1, size).frame(0)[0][None]
    times = []
    for _ in range(_WARM_UP + _TIMED):
        start = time.perf_counter()
        engine(image)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times[_WARM_UP:])


def _installed(engine: str) -> bool:
    return any(importlib.util.find_spec(package) is not None for package in _MODULES[engine])


def _machine(device: torch.device) -> dict[str, str | int | None]:
    """Return what a measured choice is good for: this processor or GPU, and these versions."""
    versions = ",".join(f"{name} {version_of(name)}" for name in _DISTRIBUTIONS)
    if device.type == "cuda":
        return {"device": torch.cuda.get_device_name(device), "driver": nvidia_driver(), "versions": versions}
    return {"device": processor(), "threads": torch.get_num_threads(), "versions": versions}
