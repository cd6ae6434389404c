"""`erfnet benchmark --node`, `--transport` and `--all`: node and image transport."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from erfnet_ros.commands.benchmark.command import make_parser, measure_engines, node_minutes, write_json
from erfnet_ros.commands.benchmark.statistics import describe_machine
from erfnet_ros.commands.benchmark.tables import machine_line
from erfnet_ros.core.errors import ParameterError
from erfnet_ros.evaluation.metrics.latency import LatencyStatistics
from erfnet_ros.ros.benchmark import node as node_benchmark
from erfnet_ros.ros.benchmark import transport
from erfnet_ros.ros.benchmark.node import NODE_SIZES, Endurance, NodeStatistics, measure_endurance, measure_node
from erfnet_ros.ros.benchmark.transport import TransportStatistics, measure_transport
from erfnet_ros.ros.harness.child_process import exit_on_signals, keep_to_this_machine
from erfnet_ros.ros.harness.node_process import ros_versions
from erfnet_ros.ros.transport import keep_large_blocks


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what the options ask for, print it; return 0.

    Raises:
        ErfnetError: An option cannot be used, a file cannot be written, or a process ended.
    """
    options = make_parser().parse_args(argv)
    exit_on_signals()
    if options.isa:
        raise ParameterError("Expected --isa with the engines alone, got it with --node, --transport or --all.")
    minutes = node_minutes(options)
    keep_large_blocks()
    keep_to_this_machine()
    machine = describe_machine({"torch": metadata.version("torch"), **ros_versions()})
    print(machine_line(machine), flush=True)
    report: dict[str, Any] = {"machine": asdict(machine)}
    if options.all:
        report["engines"] = asdict(measure_engines(options))
    if options.transport or options.all:
        rows = measure_transport(options.seconds)
        print("\n".join(_transport_lines(rows)), flush=True)
        report["transport"] = [asdict(row) for row in rows]
    if options.node or options.all:
        parameters = {"checkpoint": str(Path(options.checkpoint).resolve())} if options.checkpoint else {}
        node = [
            measure_node(width, height, frames=options.frames, parameters=parameters) for width, height in NODE_SIZES
        ]
        print("\n".join(_node_lines(node)), flush=True)
        report["node"] = [asdict(row) for row in node]
        if minutes:
            run = measure_endurance(minutes, parameters)
            print("\n".join(_endurance_lines(run)), flush=True)
            report["endurance"] = asdict(run)
    write_json(report, options.json)
    return 0


def _transport_lines(rows: Sequence[TransportStatistics]) -> list[str]:
    size = f"{transport.WIDTH}x{transport.HEIGHT} rgb8 at {transport.RATE_HZ} Hz"
    lines = ["", f"Transport, {size}, best effort, camera and subscriber as two processes, engine left out:"]
    lines.append(f"  {'':<28}{'received / sent':>16}{'median':>12}{'p99':>12}")
    for row in rows:
        lines.append(f"  {row.transport:<28}{f'{row.received} / {row.sent}':>16}{_cells(row.transport_ms)}")
    return lines


def _node_lines(rows: Sequence[NodeStatistics]) -> list[str]:
    lines = [
        "",
        "Node, mask and confidence read, one frame at a time (overhead: callback to published, less the engine):",
    ]
    lines.append(f"  {'':<12}{'':>20}{'median':>12}{'p99':>12}")
    for row in rows:
        size = f"{row.width}x{row.height}"
        lines.append(f"  {size:<12}{'overhead':>20}{_cells(row.overhead_ms)}")
        lines.append(f"  {'':<12}{'engine':>20}{_cells(row.inference_ms)}")
        lines.append(f"  {'':<12}{'stamp to mask read':>20}{_cells(row.latency_ms)}")
    return lines


def _endurance_lines(run: Endurance) -> list[str]:
    camera = f"{node_benchmark.WIDTH}x{node_benchmark.HEIGHT} at {node_benchmark.RATE_HZ} Hz"
    counts = f"{run.answered} of {run.sent} frames answered"
    lines = ["", f"Node over {run.minutes:g} min, {camera}, {counts}; its memory, and stamp to mask read:"]
    lines.append(f"  {'':<14}{'memory':>12}{'median':>12}{'p99':>12}")
    for name, part in (("first tenth", 0), ("last tenth", -1)):
        memory = f"{run.memory_mb[part]:.0f} MB"
        lines.append(f"  {name:<14}{memory:>12}{_cells(run.latency_ms[part])}")
    return lines


def _cells(values: LatencyStatistics | None) -> str:
    if values is None:
        return f"{'-':>12}{'-':>12}"
    return f"{f'{values.p50:.2f} ms':>12}{f'{values.p99:.2f} ms':>12}"
