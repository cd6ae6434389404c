"""Benchmark of engines: interleaved runs, agreement with fp32, startup times, limits of the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from erfnet_ros.commands.benchmark import interleaved_runs
from erfnet_ros.commands.benchmark.candidates import choose, open_engines, reference_candidate
from erfnet_ros.commands.benchmark.hardware_limits import best_of, describe_device, measure_limits
from erfnet_ros.commands.benchmark.network_only import networks_alone
from erfnet_ros.commands.benchmark.startup_time import measure_startup
from erfnet_ros.commands.benchmark.statistics import AUTHORS, Report, Size, StartupTime, Unavailable
from erfnet_ros.commands.benchmark.workloads import make_workloads, read_frames
from erfnet_ros.core.errors import EngineError
from erfnet_ros.inference.device import pick_device
from erfnet_ros.inference.pytorch.cpu import on_single_thread
from erfnet_ros.models import checkpoint as checkpoints

_BATCHES = 3


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        engines: As `candidates.choose` takes them.
        device: auto, cpu, cuda or cuda:N.
        cameras: (width, height) of the images.
        batch: Images in one run.
        data: As `frame_sources.open_source` takes it.
        startup_times: Whether engines are also started in processes of their own.
        quick: Whether the machine's limits are only estimated.
    """

    checkpoint: Path
    engines: tuple[str, ...]
    device: str
    cameras: tuple[Size, ...]
    batch: int
    runs: int
    data: str
    startup_times: bool
    quick: bool


def benchmark(plan: Plan, say: Callable[[str], None]) -> Report:
    """Measure the engines; `say` is called with each line of progress.

    Raises:
        ErfnetError: Checkpoint, frames, device or an engine's name cannot be used. The report lists the engines that
            do not run.
    """
    pairs = choose(plan.engines)
    checkpoint = on_single_thread(checkpoints.load, plan.checkpoint)
    device = pick_device(plan.device)
    machine = describe_device(device)
    workloads = make_workloads(checkpoint, plan.cameras, plan.batch)
    frames = [read_frames(plan.data, checkpoint, workload, _BATCHES) for workload in workloads]
    say("limits of the machine")
    limits = on_single_thread(measure_limits, device, plan.quick)
    opened = open_engines(checkpoint, pairs, plan.device, workloads, frames, machine.isa, say)
    try:
        authors = [reference_candidate(checkpoint, device, workload, index) for index, workload in enumerate(workloads)]
        for candidate in authors:
            candidate.run(candidate.prepare(frames[candidate.workload][0]))
        everybody = [*authors, *opened.candidates]
        alone, missing = networks_alone(checkpoint, opened.candidates, workloads)
        measured = interleaved_runs.run_interleaved([*everybody, *alone], frames, plan.runs, say)
        limits = best_of(limits, on_single_thread(measure_limits, device, plan.quick))
        agreed = interleaved_runs.agreements(everybody, checkpoint, workloads, frames, say)
        failed, notes = opened.failed(), opened.notes()
        gone = {(each.engine, each.precision) for each in failed}
        rows = [
            row
            for row in interleaved_runs.make_rows(everybody, measured[: len(everybody)], agreed, workloads, limits)
            if (row.engine, row.precision) not in gone
        ]
        networks = interleaved_runs.make_networks(alone, measured[len(everybody) :], workloads, limits)
    finally:
        opened.close()
    startup_times: list[StartupTime] = []
    unavailable = [*opened.unavailable, *failed, *missing]
    running = dict.fromkeys((row.engine, row.precision) for row in rows if row.engine != AUTHORS)
    for engine, precision in running if plan.startup_times else ():
        say(f"starting {engine} {precision} in a process of its own")
        try:
            startup_times.append(measure_startup(plan.checkpoint, engine, precision, plan.device, plan.cameras[0]))
        except EngineError as error:
            unavailable.append(Unavailable(engine, precision, f"start: {error}"))
    heard = tuple(note for note in notes if (note.engine, note.precision) in running)
    return Report(
        machine,
        limits,
        plan.data,
        tuple(workloads),
        tuple(rows),
        tuple(networks),
        tuple(startup_times),
        tuple(unavailable),
        heard,
    )
