"""Hardware limits: copy rate and matrix product rate of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from erfnet_ros.commands.benchmark.statistics import Limits, Machine, describe_machine
from erfnet_ros.core.system_info import version_of
from erfnet_ros.inference.device import has_bf16_units
from erfnet_ros.inference.factory import ENGINES, engine_type
from erfnet_ros.inference.pytorch.onednn import has_int8_units

_TURNS = 8


def describe_device(device: torch.device) -> Machine:
    """Return this machine with the GPU, where one is used, and the versions that the measurements depend on."""
    packages = [name for engine in ENGINES[1:] for name in engine_type(engine).distributions]
    versions = {name: version for name in packages if (version := version_of(name))}
    return describe_machine(versions, torch.cuda.get_device_name(device) if device.type == "cuda" else "")


def measure_limits(device: torch.device, quick: bool) -> Limits:
    """Copy a large block and multiply large matrices, each a few times; the fastest turn counts.

    A CPU multiplies only what it has units for: without, a large product takes minutes.
    """
    floats, side = (4_000_000, 512) if quick else (64_000_000, 4096 if device.type == "cuda" else 2048)
    source = torch.ones(floats, device=device)
    target = torch.empty_like(source)
    copied = _least_s(lambda: target.copy_(source), device)
    rates = {"fp32": torch.float32}
    if device.type == "cuda":
        rates["fp16"] = torch.float16
    if device.type == "cuda" or has_bf16_units():
        rates["bf16"] = torch.bfloat16
    gmac_s = {}
    with _tf32_products():
        for name, dtype in rates.items():
            matrix = torch.ones(side, side, device=device, dtype=dtype)
            gmac_s[name] = side**3 / _least_s(lambda matrix=matrix: matrix @ matrix, device) / 1e9  # type: ignore[misc]
    if (int8 := _int8_s(side, device)) is not None:
        gmac_s["int8"] = side**3 / int8 / 1e9
    return Limits(str(device), 2 * 4 * floats / copied / 1e9, gmac_s)


def best_of(first: Limits, second: Limits) -> Limits:
    """Return the higher of each rate: whatever else ran meanwhile can only have lowered it."""
    rates = {name: max(rate, second.gmac_s.get(name, 0.0)) for name, rate in first.gmac_s.items()}
    return Limits(first.device, max(first.copy_gb_s, second.copy_gb_s), rates)


@contextmanager
def _tf32_products() -> Iterator[None]:
    """Let GPUs multiply fp32 matrices in TF32: cuDNN does in the network's convolutions, unless it is told not to."""
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    matmul.allow_tf32 = True
    try:
        yield
    finally:
        matmul.allow_tf32 = before


def _int8_s(side: int, device: torch.device) -> float | None:
    """Return the seconds of a product of int8 matrices, or None where there are no units or PyTorch has none."""
    if device.type == "cpu" and not has_int8_units():
        return None
    matrix = torch.ones(side, side, dtype=torch.int8, device=device)
    try:
        return _least_s(lambda: torch._int_mm(matrix, matrix), device)
    except (RuntimeError, NotImplementedError):
        return None


def _least_s(work: Callable[[], object], device: torch.device) -> float:
    least = float("inf")
    for _ in range(_TURNS):
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        least = min(least, time.perf_counter() - start)
    return least


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
