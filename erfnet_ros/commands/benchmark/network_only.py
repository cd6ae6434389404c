"""Network-only benchmark on a GPU, timed by the GPU: from the scaled image to the scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch

from erfnet_ros.commands.benchmark.candidates import Candidate
from erfnet_ros.commands.benchmark.statistics import NETWORK, Unavailable
from erfnet_ros.commands.benchmark.workloads import Setup
from erfnet_ros.core.array_types import Pixels
from erfnet_ros.inference.device import DTYPES
from erfnet_ros.inference.pytorch.cuda import GRAPH_LOCK, channels_last
from erfnet_ros.inference.pytorch.fused_gpu import fuse
from erfnet_ros.models.pipeline import Pipeline, resize

_WARM_UP = 3
"""Runs before the capture, in which cuDNN chooses its algorithms."""


def networks_alone(setup: Setup, candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[Unavailable]]:
    """Return the network of each candidate that is PyTorch on a GPU, as a candidate, and those that do not run."""
    networks: list[Candidate] = []
    missing: dict[str, Unavailable] = {}
    for candidate in candidates:
        if candidate.engine == "pytorch" and candidate.device != "cpu":
            try:
                networks.append(_captured(setup, candidate))
            except RuntimeError as error:
                reason = str(error).partition("\n")[0]
                missing.setdefault(candidate.precision, Unavailable(NETWORK, candidate.precision, reason))
    return networks, list(missing.values())


def _captured(setup: Setup, candidate: Candidate) -> Candidate:
    """Return the network laid out and captured as a CUDA graph, as PyTorch's engine has it."""
    workload = setup.workloads[candidate.workload]
    device, dtype = torch.device(candidate.device), DTYPES[candidate.precision]
    width, height = workload.network
    graph = torch.cuda.CUDAGraph()
    with (
        GRAPH_LOCK,
        torch.cuda.device(device),
        torch.inference_mode(),
        torch.backends.cudnn.flags(enabled=True, benchmark=True),
    ):
        pipeline = Pipeline(setup.checkpoint, workload.input_size).eval().to(device, dtype)
        fuse(channels_last(pipeline))
        network = pipeline.network
        shape = (workload.batch, 3, height, width)
        seen = torch.zeros(shape, dtype=dtype, device=device).contiguous(memory_format=torch.channels_last)
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                network(seen)
            stream.synchronize()
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            network(seen)

    def prepare(images: Pixels) -> None:
        with torch.inference_mode():
            pixels = torch.from_numpy(images).to(device, dtype).permute(0, 3, 1, 2)
            seen.copy_((resize(pixels, (height, width)) - pipeline.mean) / pipeline.deviation)

    def replay(_: Pixels) -> None:
        with GRAPH_LOCK:
            graph.replay()

    own = prepare, replay, partial(_gpu_ms, device)
    return Candidate(NETWORK, candidate.precision, candidate.device, candidate.workload, *own)


def _gpu_ms(device: torch.device, work: Callable[[], object]) -> float:
    """Return the milliseconds of the second of two runs in a row."""
    with torch.cuda.device(device):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        # The GPU is still at the first when the second is put behind it: what the launch takes does not count.
        work()
        start.record()
        work()
        end.record()
        end.synchronize()
        elapsed_ms: float = start.elapsed_time(end)
    return elapsed_ms
