"""`erfnet benchmark --node`, `--transport` and `--all`: what ROS adds to the engines' times."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from erfnet_ros.commands.benchmark.command import measure_engines, write_json
from erfnet_ros.commands.benchmark.options import make_parser, node_minutes
from erfnet_ros.core.errors import ErfnetError, ParameterError
from erfnet_ros.evaluation.metrics.latency import LatencyStatistics, latency_statistics
from erfnet_ros.ros.benchmark import endurance, transport
from erfnet_ros.ros.benchmark.endurance import EnduranceFigures, measure_endurance
from erfnet_ros.ros.benchmark.transport import TransportFigures, measure_transport
from erfnet_ros.ros.harness.child_process import exit_on_signals, keep_to_this_machine
from erfnet_ros.ros.harness.environment import Machine, describe_machine
from erfnet_ros.ros.harness.file_camera import camera_playback
from erfnet_ros.ros.harness.harness import NodeHarness
from erfnet_ros.ros.harness.node_process import own_node
from erfnet_ros.ros.harness.output_recorder import Arrival
from erfnet_ros.ros.transport import keep_large_blocks

NODE_SIZES = ((640, 480), (1920, 1080))

_NODE_TOPICS = ("mask", "confidence", "statistics")
_DISTINCT = 4
_WARM_UP = 3
"""Frames that pay for memory and kernels of a new size; they do not count."""


@dataclass(frozen=True)
class NodeFigures:
    """What the node does to frames of one size, mask and confidence being read.

    Attributes:
        width: Of the image, pixels.
        height: Of the image, pixels.
        frames: How many were measured, one at a time.
        overhead_ms: Callback begin to last image published, less the engine's own time.
        inference_ms: The engine's own time.
        latency_ms: Stamp to mask received in another process.
    """

    width: int
    height: int
    frames: int
    overhead_ms: LatencyStatistics | None
    inference_ms: LatencyStatistics | None
    latency_ms: LatencyStatistics | None


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what was asked for, print it; return the exit status."""
    options = make_parser().parse_args(argv)
    exit_on_signals()
    try:
        if options.isa:
            raise ParameterError("Expected --isa with the engines alone, got it with --node, --transport or --all.")
        minutes = node_minutes(options)
        keep_large_blocks()
        keep_to_this_machine()
        machine = describe_machine()
        print("\n".join(_machine_lines(machine)), flush=True)
        report: dict[str, Any] = {"machine": asdict(machine)}
        if options.all:
            report["engines"] = asdict(measure_engines(options))
        if options.transport or options.all:
            transport = measure_transport(options.seconds)
            print("\n".join(_transport_lines(transport)), flush=True)
            report["transport"] = [asdict(figures) for figures in transport]
        if options.node or options.all:
            parameters = {"checkpoint": str(Path(options.checkpoint).resolve())} if options.checkpoint else {}
            node = [measure_node(width, height, options.frames, parameters) for width, height in NODE_SIZES]
            print("\n".join(_node_lines(node)), flush=True)
            report["node"] = [asdict(figures) for figures in node]
            if minutes:
                endurance = measure_endurance(minutes, parameters)
                print("\n".join(_endurance_lines(endurance)), flush=True)
                report["endurance"] = asdict(endurance)
        write_json(report, options.json)
    except (ErfnetError, OSError) as error:
        print(f"erfnet benchmark: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("erfnet benchmark: interrupted; everything is stopped.", file=sys.stderr)
        return 130
    return 0


def measure_node(width: int, height: int, frames: int, parameters: Mapping[str, str]) -> NodeFigures:
    """Send frames of one size to the real node, each after the answer to the one before.

    Args:
        width: Of the image, pixels.
        height: Of the image, pixels.
        frames: How many to measure.
        parameters: The node's.
    """
    statistics: list[Any] = []

    def keep(index: int, arrival: Arrival) -> None:
        if arrival.topic == "statistics":
            statistics.append(arrival.message)

    camera = ["--source", "synthetic", "--size", f"{width}x{height}", "--frames", str(_DISTINCT)]
    with NodeHarness(own_node(parameters), camera_playback(camera), _NODE_TOPICS, keep) as harness:
        harness.wait_until_ready()
        for index in range(_WARM_UP + frames):
            harness.play([index % _DISTINCT], lambda: None)
    measured = statistics[_WARM_UP:]
    return NodeFigures(
        width,
        height,
        len(measured),
        latency_statistics([message.total_ms - message.inference_ms for message in measured]),
        latency_statistics([message.inference_ms for message in measured]),
        latency_statistics(harness.tracker.latencies_ms[_WARM_UP:]),
    )


def _machine_lines(machine: Machine) -> list[str]:
    return [
        f"machine     {machine.processor}, {machine.cores} cores, load {machine.load:.1f}",
        f"software    PyTorch {machine.pytorch}, ROS 2 {machine.ros}, {machine.middleware}",
    ]


def _transport_lines(figures: Sequence[TransportFigures]) -> list[str]:
    size = f"{transport.WIDTH}x{transport.HEIGHT} rgb8 at {transport.RATE_HZ} Hz"
    lines = ["", f"Transport, {size}, best effort, camera and subscriber as two processes, engine left out:"]
    lines.append(f"  {'':<28}{'received / sent':>16}{'median':>12}{'p99':>12}")
    for row in figures:
        lines.append(f"  {row.setting:<28}{f'{row.received} / {row.sent}':>16}{_cells(row.transport_ms)}")
    return lines


def _node_lines(figures: Sequence[NodeFigures]) -> list[str]:
    lines = [
        "",
        "Node, mask and confidence read, one frame at a time (overhead: callback to published, less the engine):",
    ]
    lines.append(f"  {'':<12}{'':>20}{'median':>12}{'p99':>12}")
    for row in figures:
        size = f"{row.width}x{row.height}"
        lines.append(f"  {size:<12}{'overhead':>20}{_cells(row.overhead_ms)}")
        lines.append(f"  {'':<12}{'engine':>20}{_cells(row.inference_ms)}")
        lines.append(f"  {'':<12}{'stamp to mask read':>20}{_cells(row.latency_ms)}")
    return lines


def _endurance_lines(figures: EnduranceFigures) -> list[str]:
    camera = f"{endurance.WIDTH}x{endurance.HEIGHT} at {endurance.RATE_HZ} Hz"
    counts = f"{figures.answered} of {figures.sent} frames answered"
    lines = ["", f"Node over {figures.minutes:g} min, {camera}, {counts}; its memory, and stamp to mask read:"]
    lines.append(f"  {'':<14}{'memory':>12}{'median':>12}{'p99':>12}")
    for name, part in (("first tenth", 0), ("last tenth", -1)):
        memory = f"{figures.memory_mb[part]:.0f} MB"
        lines.append(f"  {name:<14}{memory:>12}{_cells(figures.latency_ms[part])}")
    return lines


def _cells(values: LatencyStatistics | None) -> str:
    if values is None:
        return f"{'-':>12}{'-':>12}"
    return f"{f'{values.p50:.2f} ms':>12}{f'{values.p99:.2f} ms':>12}"


if __name__ == "__main__":
    sys.exit(main())
