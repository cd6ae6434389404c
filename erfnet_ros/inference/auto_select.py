"""Automatic engine selection: measured once on this machine, then remembered in the build cache."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from erfnet_ros.core.errors import DeviceError, EngineError
from erfnet_ros.core.system_info import nvidia_driver, processor, version_of
from erfnet_ros.inference.build_cache import Cache, Key
from erfnet_ros.inference.engine import Engine, optional_faults
from erfnet_ros.inference.parity_check import street
from erfnet_ros.inference.pytorch.cuda import close_safely

log = logging.getLogger(__name__)

_WARM_UP, _TIMED = 2, 5
"""Frames of each engine."""

_WIN = 0.9
"""Largest share of the last engine's time at which another is chosen: a smaller difference is noise."""


def open_fastest(openers: Mapping[str, Callable[[], Engine]], key: Key, size: tuple[int, int]) -> Engine:
    """Return the fastest of several engines; with one name, that engine, without measuring.

    Args:
        openers: Open the engines, by name; one that fails is left out, with a note. The last one is chosen unless
            another is faster by a tenth; where none runs, its type of error is raised.
        key: What the choice depends on besides names and size: `machine_key`, and the precision asked for.
        size: (width, height) of the frames to time.
    """
    last = list(openers)[-1]
    if len(openers) == 1:
        return openers[last]()
    cache = Cache()
    opened: dict[str, Engine] = {}
    left_out: dict[str, EngineError] = {}

    def measure(_: Path) -> Mapping[str, Any]:
        times: dict[str, float] = {}
        for name, open_one in openers.items():
            try:
                with optional_faults(name):
                    opened[name] = open_one()
                    times[name] = _median_ms(opened[name], size)
            except EngineError as error:
                left_out[name] = error
        if not times:
            # The type of the last one's error decides whether a CPU may take its place.
            raise type(left_out[last])(" ".join(str(error) for error in left_out.values()))
        fastest = min(times, key=lambda name: times[name])
        if last in times and times[fastest] > _WIN * times[last]:
            fastest = last
        reasons = {name: str(error) for name, error in left_out.items()}
        return {"engine": fastest, "times_ms": times, "left_out": reasons}

    whole_key = {"engines": ",".join(openers), "size": f"{size[0]}x{size[1]}", **key}
    try:
        choice = cache.artifact("choice", whole_key, "json", build=measure)
        name = choice.metadata["engine"]
        chosen = opened.pop(name, None)
    finally:
        for other in opened.values():
            close_safely(other)
    try:
        engine = chosen or openers[name]()
    except EngineError as error:
        # What was chosen at an earlier start does not open any more.
        cache.discard(choice)
        engine = open_fastest({other: openers[other] for other in openers if other != name}, key, size)
        engine.notes += (f"Engine {name} is left out: {error}",)
        return engine
    if any(isinstance(error, DeviceError) for error in left_out.values()):
        # Memory that is taken now may be free at the next start.
        cache.discard(choice)
    log.info(_reason(choice.metadata))
    others = (f"Engine {name} is left out: {reason}" for name, reason in choice.metadata["left_out"].items())
    engine.notes += (*choice.notes, *others)
    return engine


def machine_key(device: torch.device, distributions: Sequence[str]) -> Key:
    """Return what a measured choice depends on: this processor or GPU, and the versions of some pip packages."""
    versions = ",".join(f"{name} {version_of(name)}" for name in dict.fromkeys(distributions))
    if device.type == "cuda":
        return {"device": torch.cuda.get_device_name(device), "driver": nvidia_driver(), "versions": versions}
    return {"device": processor(), "threads": torch.get_num_threads(), "versions": versions}


def _reason(metadata: Mapping[str, Any]) -> str:
    if len(metadata["times_ms"]) == 1:
        return f"Engine {metadata['engine']} is the only one that runs here."
    measured = ", ".join(f"{name} {milliseconds:.1f} ms" for name, milliseconds in metadata["times_ms"].items())
    return f"Engine {metadata['engine']} is the fastest here: {measured} per image, measured at first start."


def _median_ms(engine: Engine, size: tuple[int, int]) -> float:
    image = street(size)[None]
    times = []
    for _ in range(_WARM_UP + _TIMED):
        start = time.perf_counter()
        engine(image)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times[_WARM_UP:])
