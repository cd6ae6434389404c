"""Benchmark candidates: the original PyTorch code, and every engine in every precision that this machine has."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt
import torch

from erfnet_ros.commands.benchmark.statistics import AUTHORS, Note, Size, Unavailable
from erfnet_ros.commands.benchmark.workloads import Setup
from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import ErfnetError, ParameterError
from erfnet_ros.inference.engine import PRECISIONS, Engine, EngineRequest
from erfnet_ros.inference.factory import ENGINES, engine_type, open_engine
from erfnet_ros.inference.pytorch.cpu import on_single_thread
from erfnet_ros.models.checkpoint import build_network


def wall_ms(work: Callable[[], object]) -> float:
    """Return the milliseconds that some work takes."""
    start = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - start)


@dataclass(frozen=True)
class Candidate:
    """One engine for one workload.

    `prepare` turns a batch of images into what `run` takes, outside the time that `clock` measures.
    """

    engine: str
    precision: str
    device: str
    workload: int
    prepare: Callable[[Pixels], object]
    run: Callable[..., object]
    clock: Callable[[Callable[[], object]], float] = wall_ms


def choose(engines: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of engine and precision that words NAME or NAME:PRECISION name; all without a word."""
    names, precisions = ENGINES[1:], PRECISIONS[1:]
    pairs: list[tuple[str, str]] = []
    for word in engines or names:
        name, _, precision = word.partition(":")
        if name not in names or (precision and precision not in precisions):
            raise ParameterError(
                f"Expected --engines to be of {', '.join(names)}, each with or without :PRECISION of "
                f"{', '.join(precisions)}, got '{word}'."
            )
        pairs += [(name, each) for each in ([precision] if precision else precisions)]
    return list(dict.fromkeys(pairs))


def reference_candidate(setup: Setup, device: torch.device, index: int) -> Candidate:
    """Return the original PyTorch code: the network as it was trained, in fp32, a float image at a time.

    It is given the images resized and as floats, and answers at the network's size: less than the engines do.
    """
    network, size = on_single_thread(build_network, setup.checkpoint).to(device), setup.workloads[index].network

    def prepare(images: Pixels) -> list[torch.Tensor]:
        resized = [np.asarray(cv2.resize(image, size)) for image in images]
        return [torch.from_numpy(image).permute(2, 0, 1)[None].contiguous().float().div(255) for image in resized]

    def run(inputs: list[torch.Tensor]) -> list[npt.NDArray[np.uint8]]:
        with torch.no_grad():
            return [network(image.to(device)).max(1)[1].byte().cpu().numpy() for image in inputs]

    # The thread that the engines compute on: two would be in each other's way.
    own = partial(on_single_thread, prepare), partial(on_single_thread, run)
    return Candidate(AUTHORS, "fp32", str(device), index, *own)


@dataclass(frozen=True)
class Opened:
    """The engines that run here, each with its name, its precision and its first device, and those that do not run."""

    candidates: list[Candidate]
    unavailable: list[Unavailable]
    engines: list[tuple[Engine, str, str, str]]

    def failed(self) -> list[Unavailable]:
        """Return the engines whose place another took since they were opened: their times are not their own."""
        return [
            Unavailable(name, precision, engine.notes[-1])
            for engine, name, precision, device in self.engines
            if (engine.name, engine.device) != (name, device)
        ]

    def notes(self) -> list[Note]:
        """Return what the engines have to say, each sentence of an engine once."""
        said = (Note(name, precision, text) for engine, name, precision, _ in self.engines for text in engine.notes)
        return list(dict.fromkeys(said))

    def close(self) -> None:
        """Free the engines' memory."""
        for engine, *_ in self.engines:
            engine.close()


def open_engines(setup: Setup, pairs: Sequence[tuple[str, str]], isa: str) -> Opened:
    """Open the engines and run every workload twice; those that cannot are listed with the reason.

    Args:
        pairs: Engines and precisions.
        isa: Instructions that oneDNN is limited to; empty for all.
    """
    opened = Opened([], [], [])
    for name, precision in pairs:
        setup.say(f"opening {name} {precision}")
        if isa and not engine_type(name).computes_with_onednn:
            reason = f"it does not compute with oneDNN, which alone is limited to {isa}"
            opened.unavailable.append(Unavailable(name, precision, reason))
            continue
        kept: dict[Size | None, Engine] = {}
        own: list[Candidate] = []
        try:
            for index, workload in enumerate(setup.workloads):
                if workload.input_size not in kept:
                    request = EngineRequest(setup.checkpoint, setup.device, precision, workload.input_size)
                    fresh = open_engine(request, name)
                    kept[workload.input_size] = fresh
                    opened.engines.append((fresh, name, precision, fresh.device))
                engine = kept[workload.input_size]
                for _ in range(2):
                    engine(setup.frames[index][0])
                own.append(Candidate(name, precision, engine.device, index, lambda images: images, engine))
        except ErfnetError as error:
            opened.unavailable.append(Unavailable(name, precision, str(error)))
            continue
        opened.candidates.extend(own)
    return opened
