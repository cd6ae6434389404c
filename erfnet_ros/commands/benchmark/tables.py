"""Tables of the benchmark report, for a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from erfnet_ros.commands.benchmark.statistics import AUTHORS, Limits, Machine, Report, Row, StartupTime, Workload
from erfnet_ros.visualization.html import render
from erfnet_ros.visualization.html.elements import Cell, Column, Table

_NONE = "-"
_ITS_PRECISION = "\0"


def as_text(report: Report) -> str:
    """Return the report for a terminal."""
    tables = [f"{table.title}\n{_aligned(table)}" for table in _tables(report)]
    parts = ["\n".join(_head(report)), *tables, "\n".join(_sentences(report))]
    return "\n\n".join(part for part in parts if part)


def as_markdown(report: Report) -> str:
    """Return the report for a page of documentation."""
    head, sentences = (
        "\n".join(f"- {render.escape(line)}" for line in lines) for lines in (_head(report), _sentences(report))
    )
    tables = [f"**{render.escape(table.title)}**\n\n{render.table(table)}" for table in _tables(report)]
    return "\n\n".join(part for part in (head, *tables, sentences) if part) + "\n"


def engine_name(engine: str, precision: str) -> str:
    """Return a row's name."""
    return "original PyTorch code, fp32" if engine == AUTHORS else f"{engine} {precision}"


def _head(report: Report) -> list[str]:
    return [machine_line(report.machine), _limits_line(report.limits), f"frames: {report.frames}"]


def _tables(report: Report) -> list[Table]:
    tables = [
        _workload_table(workload, [row for row in report.rows if row.workload == index])
        for index, workload in enumerate(report.workloads)
    ]
    if report.networks:
        tables.append(_networks_table(report.networks, report.workloads))
    if report.startup_times:
        tables.append(_startup_table(report.startup_times))
    if report.clouds:
        lines = [
            [f"{each.camera[0]}x{each.camera[1]}", f"{each.times.p50:.1f} ms", f"{each.times.p99:.1f} ms"]
            for each in report.clouds
        ]
        title = "A labeled point cloud, from depth image and mask to the bytes of the message, on one core"
        tables.append(_table(title, words=["depth image"], numbers=["median", "p99"], lines=lines))
    return tables


def _table(title: str, *, words: Sequence[str], numbers: Sequence[str], lines: Iterable[Sequence[str]]) -> Table:
    """Return a table whose columns of words precede those of numbers."""
    columns = [*(Column(name, numeric=False) for name in words), *(Column(name) for name in numbers)]
    return Table(columns, [[Cell(text) for text in line] for line in lines], title)


def _workload_table(workload: Workload, rows: Sequence[Row]) -> Table:
    numbers = ("median", "p99", "images/s", "times faster", "of the matrix rate", "agreement with fp32")
    lines = [
        [
            engine_name(row.engine, row.precision),
            f"{row.times.p50:.1f} ms",
            f"{row.times.p99:.1f} ms",
            f"{row.fps:.1f}",
            f"{row.speedup:.2f}",
            _percent(row.share, 0),
            _percent(row.agreement, 2),
        ]
        for row in rows
    ]
    title = f"{workload.text} ({workload.gmacs:.1f} GMAC, {rows[0].times.runs if rows else 0} runs)"
    return _table(title, words=["engine"], numbers=numbers, lines=lines)


def _networks_table(networks: Sequence[Row], workloads: Sequence[Workload]) -> Table:
    lines = [
        [
            workloads[row.workload].text,
            row.precision,
            f"{row.times.p50:.2f} ms",
            f"{row.times.p99:.2f} ms",
            _percent(row.share, 0),
        ]
        for row in networks
    ]
    title = f"The network alone on {networks[0].device}: PyTorch's, without copies, resizing, upsampling and labels"
    return _table(title, words=["workload", "precision"], numbers=["median", "p99", "of the matrix rate"], lines=lines)


def _startup_table(startup_times: Sequence[StartupTime]) -> Table:
    lines = [
        [
            engine_name(start.engine, start.precision),
            f"{start.cold_s:.1f} s",
            f"{start.warm_s:.1f} s",
            f"{start.memory_mb:.0f} MB",
            _NONE if start.gpu_memory_mb is None else f"{start.gpu_memory_mb:.0f} MB",
        ]
        for start in startup_times
    ]
    title = "A fresh process, until the first mask: caches empty (cold) and filled (warm)"
    return _table(title, words=["engine"], numbers=["cold start", "warm start", "memory", "GPU memory"], lines=lines)


def machine_line(machine: Machine) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine.software.items())
    gpu = f", {machine.gpu}" if machine.gpu else ""
    isa = f", oneDNN limited to {machine.isa}" if machine.isa else ""
    cores = "1 core" if machine.cores == 1 else f"{machine.cores} cores"
    return f"machine: {machine.processor}, {cores}{gpu}{isa}, load {machine.load:.1f}; {versions}"


def _limits_line(limits: Limits) -> str:
    rates = ", ".join(f"{rate:.0f} GMAC/s {precision}" for precision, rate in limits.gmac_s.items())
    return f"limit of {limits.device}: copy {limits.copy_gb_s:.1f} GB/s; matrix product {rates}"


def _sentences(report: Report) -> list[str]:
    """Return a line for each thing that an engine notes, and for each reason why one does not run."""
    said = [(note.engine, note.precision, note.text) for note in report.notes]
    said += [(each.engine, each.precision, f"not available: {each.reason}") for each in report.unavailable]
    precisions: dict[tuple[str, str], list[str]] = {}
    for engine, precision, text in said:
        # A sentence that is the same for every precision may name the one it was said for.
        precisions.setdefault((engine, text.replace(f"'{precision}'", _ITS_PRECISION)), []).append(precision)
    lines = []
    for (engine, text), names in precisions.items():
        named = text.replace(_ITS_PRECISION, ", ".join(f"'{name}'" for name in names))
        lines.append(f"{engine} {', '.join(names)}: {named}")
    return lines


def _percent(share: float | None, digits: int) -> str:
    return _NONE if share is None else f"{100 * share:.{digits}f} %"


def _aligned(table: Table) -> str:
    """Return rows under titles in columns of equal width."""
    lines = [[column.title for column in table.columns], *([cell.text for cell in row] for row in table.rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(table.columns))]
    return "\n".join(
        "  "
        + "  ".join(
            text.rjust(width) if column.numeric else text.ljust(width)
            for text, width, column in zip(line, widths, table.columns, strict=True)
        ).rstrip()
        for line in lines
    )
