"""Benchmark of engines: interleaved runs, agreement with fp32, startup times, limits of the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from erfnet_ros.commands.benchmark.candidates import choose, open_engines, reference_candidate
from erfnet_ros.commands.benchmark.hardware_limits import best_of, describe_device, measure_limits
from erfnet_ros.commands.benchmark.interleaved_runs import agreements, make_rows, run_interleaved
from erfnet_ros.commands.benchmark.network_only import networks_alone
from erfnet_ros.commands.benchmark.point_cloud import measure_cloud
from erfnet_ros.commands.benchmark.startup_time import measure_startup
from erfnet_ros.commands.benchmark.statistics import AUTHORS, NETWORK, Report, Size, StartupTime, Unavailable
from erfnet_ros.commands.benchmark.workloads import Setup, make_workloads, read_frames
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
    """Measure the engines; the report lists those that do not run. `say` is called with each line of progress."""
    pairs = choose(plan.engines)
    checkpoint = on_single_thread(checkpoints.load, plan.checkpoint)
    device = pick_device(plan.device)
    machine = describe_device(device)
    workloads = make_workloads(checkpoint, plan.cameras, plan.batch)
    frames = [read_frames(plan.data, checkpoint, workload, number=_BATCHES) for workload in workloads]
    setup = Setup(checkpoint, plan.device, workloads, frames, say)
    say("limits of the machine")
    limits = on_single_thread(measure_limits, device, plan.quick)
    opened = open_engines(setup, pairs, machine.isa)
    try:
        authors = [reference_candidate(setup, device, index) for index in range(len(workloads))]
        for candidate in authors:
            candidate.run(candidate.prepare(frames[candidate.workload][0]))
        alone, missing = networks_alone(setup, opened.candidates)
        candidates = [*authors, *opened.candidates, *alone]
        measured = run_interleaved(setup, candidates, plan.runs)
        limits = best_of(limits, on_single_thread(measure_limits, device, plan.quick))
        agreed = agreements(setup, candidates)
        failed, notes = opened.failed(), opened.notes()
    finally:
        opened.close()
    gone = {(each.engine, each.precision) for each in failed}
    rows = [
        row
        for row in make_rows(workloads, limits, zip(candidates, measured, agreed, strict=True))
        if (row.engine, row.precision) not in gone
    ]
    say("labeled point clouds")
    clouds = [measure_cloud(camera, plan.runs) for camera in plan.cameras]
    startup_times: list[StartupTime] = []
    unavailable = [*opened.unavailable, *failed, *missing]
    running = dict.fromkeys((row.engine, row.precision) for row in rows if row.engine not in (AUTHORS, NETWORK))
    for engine, precision in running if plan.startup_times else ():
        say(f"starting {engine} {precision} in a process of its own")
        try:
            startup_times.append(
                measure_startup(plan.checkpoint, engine, precision, device=plan.device, size=plan.cameras[0])
            )
        except EngineError as error:
            unavailable.append(Unavailable(engine, precision, f"start: {error}"))
    return Report(
        machine,
        limits,
        plan.data,
        tuple(workloads),
        rows=tuple(row for row in rows if row.engine != NETWORK),
        networks=tuple(row for row in rows if row.engine == NETWORK),
        startup_times=tuple(startup_times),
        unavailable=tuple(unavailable),
        notes=tuple(note for note in notes if (note.engine, note.precision) in running),
        clouds=tuple(clouds),
    )
