"""Statistics of a benchmark, as plain data in the form that JSON has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from erfnet_ros.core.system_info import processor

Size = tuple[int, int]

AUTHORS = "authors"
"""Name of the row of the original PyTorch code, with which all others are compared."""

NETWORK = "network alone"
"""Name of PyTorch's network on a GPU without copies, resizing, upsampling and labels: from scaled images to logits."""


@dataclass(frozen=True)
class Times:
    """Median, 99th percentile and minimum of some runs, milliseconds."""

    p50: float
    p99: float
    least: float
    runs: int


def times(values_ms: Sequence[float]) -> Times:
    """Return the figures of at least one run, percentiles interpolated linearly."""
    p50, p99 = np.percentile(values_ms, (50, 99))
    return Times(float(p50), float(p99), float(min(values_ms)), len(values_ms))


@dataclass(frozen=True)
class Workload:
    """What is segmented.

    Attributes:
        camera: (width, height) of the image.
        network: (width, height) that the network sees.
        input_size: What an engine is given to that end; None where it follows camera and training by itself.
        gmacs: Multiplications of the network for one image, 1e9.
    """

    camera: Size
    network: Size
    input_size: Size | None
    batch: int
    gmacs: float

    @property
    def text(self) -> str:
        """Both sizes in words."""
        sees = "the same" if self.network == self.camera else f"{self.network[0]}x{self.network[1]}"
        batch = f", {self.batch} at once" if self.batch > 1 else ""
        return f"image {self.camera[0]}x{self.camera[1]}, network sees {sees}{batch}"


@dataclass(frozen=True)
class Row:
    """One engine at one workload.

    Attributes:
        engine: Its name, `AUTHORS` or `NETWORK`.
        workload: Index of the workload.
        times: From the images on the host to labels and confidences on the host.
        speedup: How many times faster than the original PyTorch code, by the medians.
        share: Share of the machine's matrix rate that the network reaches, 0..1; None where no rate was measured.
        agreement: Share of pixels with the class that PyTorch chooses in fp32, 0..1; None for `AUTHORS` and `NETWORK`,
            which give no labels at the camera's size.
    """

    engine: str
    precision: str
    device: str
    workload: int
    times: Times
    speedup: float
    fps: float
    share: float | None
    agreement: float | None


@dataclass(frozen=True)
class StartupTime:
    """One engine in a fresh process, from loading torch and the checkpoint to the first mask.

    Attributes:
        cold_s: With empty caches, seconds.
        warm_s: With what the cold start left in them.
        memory_mb: Most memory that the process held in the warm start, megabytes.
        gpu_memory_mb: What it took of the GPU's; None without one.
    """

    engine: str
    precision: str
    cold_s: float
    warm_s: float
    memory_mb: float
    gpu_memory_mb: float | None


@dataclass(frozen=True)
class CloudTime:
    """What the labeled point cloud of a (width, height) depth image takes on one core."""

    camera: Size
    times: Times


@dataclass(frozen=True)
class Unavailable:
    """An engine that cannot run here, and why."""

    engine: str
    precision: str
    reason: str


@dataclass(frozen=True)
class Note:
    """A note of an engine on its choices, or on what else its times depend, in a sentence."""

    engine: str
    precision: str
    text: str


@dataclass(frozen=True)
class Limits:
    """What the machine's memory and multipliers reach.

    Attributes:
        copy_gb_s: Bytes read and written by a large copy, 1e9 a second.
        gmac_s: By precision: multiplications of a large matrix product, 1e9 a second.
    """

    device: str
    copy_gb_s: float
    gmac_s: dict[str, float]


@dataclass(frozen=True)
class Machine:
    """Where the figures come from.

    Attributes:
        cores: How many this process may use.
        gpu: Its name; empty without one.
        isa: Instructions that oneDNN was limited to; empty for all that the processor has.
        load: Load average before the run: whether the machine was at rest.
        software: Versions by name.
    """

    processor: str
    cores: int
    gpu: str
    isa: str
    load: float
    software: dict[str, str]


def describe_machine(software: dict[str, str], gpu: str = "") -> Machine:
    """Return this machine as it is now."""
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    return Machine(processor(), len(os.sched_getaffinity(0)), gpu, isa, os.getloadavg()[0], software)


@dataclass(frozen=True)
class Report:
    """A whole run."""

    machine: Machine
    limits: Limits
    frames: str
    workloads: tuple[Workload, ...]
    rows: tuple[Row, ...]
    networks: tuple[Row, ...]
    startup_times: tuple[StartupTime, ...]
    unavailable: tuple[Unavailable, ...]
    notes: tuple[Note, ...]
    clouds: tuple[CloudTime, ...] = ()
