"""Benchmark report to paste into an issue: the device and its clocks, lower bounds of the times, and all tables."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from erfnet_ros.commands.benchmark.statistics import Report
from erfnet_ros.commands.benchmark.tables import as_markdown
from erfnet_ros.core.system_info import nvidia_driver
from erfnet_ros.visualization.html import render
from erfnet_ros.visualization.html.elements import Cell, Column, Table

_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_JETSON = Path("/etc/nv_tegra_release")
_COMMANDS = (
    ("GPU", ("nvidia-smi", "--query-gpu=name,compute_cap,memory.total,driver_version", "--format=csv,noheader")),
    (
        "GPU clocks",
        ("nvidia-smi", "--query-gpu=clocks.sm,clocks.max.sm,clocks.mem,power.limit", "--format=csv,noheader"),
    ),
    ("Jetson power mode", ("nvpmodel", "-q")),
)
_COMMAND_S = 10
_BYTES_A_PIXEL = 5
"""Three of the image that are read, and one of the labels and of the confidence each that are written."""


def issue_report(report: Report) -> str:
    """Return the report as Markdown that stands alone."""
    lines = [f"- {name}: {render.escape(value)}" for name, value in _device_info()]
    parts = ["## erfnet benchmark", "\n".join(lines), as_markdown(report)]
    if report.limits.gmac_s:
        parts.append(f"**Lower bounds, from this machine's own rates**\n\n{render.table(_bounds(report))}\n")
    return "\n\n".join(parts)


def _device_info() -> Iterator[tuple[str, str]]:
    """Yield what decides the times and stands in no table, by name; what the machine does not tell is left out."""
    yield "system", f"{platform.platform()}, Python {platform.python_version()}"
    yield "driver", nvidia_driver() or "no NVIDIA driver"
    for name, path in (("CPU governor", _GOVERNOR), ("Jetson release", _JETSON)):
        if path.exists():
            yield name, path.read_text()
    for name, command in _COMMANDS:
        if shutil.which(command[0]):
            # A driver that hangs must not cost the figures.
            with suppress(OSError, subprocess.TimeoutExpired):
                done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_COMMAND_S)
                yield name, done.stdout or done.stderr
    if _JETSON.exists():
        yield "clocks", "a Jetson's clocks follow its load unless sudo jetson_clocks was run before the benchmark"


def _bounds(report: Report) -> Table:
    """Return for each workload how long copying the pixels and multiplying take at the least."""
    limits = report.limits
    lines = []
    for workload in report.workloads:
        pixels = workload.batch * workload.camera[0] * workload.camera[1]
        times_ms = [_BYTES_A_PIXEL * pixels / (1e6 * limits.copy_gb_s)]
        times_ms += [1e3 * workload.batch * workload.gmacs / rate for rate in limits.gmac_s.values()]
        lines.append([Cell(workload.text), *(Cell(f"{time:.2f} ms") for time in times_ms)])
    titles = ["image in, labels out: memory", *(f"network in {name}: arithmetic" for name in limits.gmac_s)]
    return Table([Column("workload", numeric=False), *map(Column, titles)], lines)
