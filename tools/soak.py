"""Run the node for MINUTES at 30 Hz through random faults, write a page, and fail where anything grows: make soak."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from support.faults.endurance import Run, endure, slope_per_h
from support.faults.rig import Rig

from erfnet_ros.visualization.html.elements import Cell, Column, Note, Page, Section, Table, Tile
from erfnet_ros.visualization.html.line_charts import Series, timeline
from erfnet_ros.visualization.html.render import write

_SHORTEST_MIN = 5.0
"""Below, a slope says nothing, and only the faults decide."""

_LIMITS = {"memory_mb": ("memory", "MB", 1.0), "threads": ("threads", "", 0.5), "descriptors": ("descriptors", "", 0.5)}
"""Name, unit and largest growth an hour of each figure; what is within the slope's error is no growth."""

_SLOWER, _IDLE_PERCENT = 1.1, 1.5


def tiles(run: Run, minutes: float) -> list[Tile]:
    """Return the figures that decide."""
    judged = minutes >= _SHORTEST_MIN
    seconds = [sample.at_s for sample in run.samples]
    bad = [
        outcome for _, outcome in run.faults if not outcome.survived or outcome.wrong_headers or outcome.half_written
    ]
    found = [Tile("faults", f"{len(run.faults)}", f"{len(bad)} not survived", "bad" if bad else "good")]
    for name, (title, unit, limit) in _LIMITS.items():
        slope, error = slope_per_h(seconds, [getattr(sample, name) for sample in run.samples])
        verdict = ("bad" if slope - error > limit else "good") if judged else "plain"
        found.append(Tile(title, f"{slope:+.1f} {unit}/h", f"± {error:.1f}; limit {limit:g}", verdict))
    tenths = np.array_split(np.array([latency for _, latency in run.latencies_ms]), 10)
    first, last = (float(np.percentile(part, 99)) if len(part) else float("nan") for part in (tenths[0], tenths[-1]))
    slower = ("bad" if last > _SLOWER * first else "good") if judged else "plain"
    found.append(Tile("latency p99", f"{last:.0f} ms", f"last tenth; first {first:.0f} ms", slower))
    idle = "good" if run.idle_percent <= _IDLE_PERCENT else "bad"
    found.append(Tile("idle CPU", f"{run.idle_percent:.1f} %", f"limit {_IDLE_PERCENT} %", idle if judged else "plain"))
    return found


def page(run: Run, minutes: float, figures: list[Tile]) -> Page:
    """Return the page of a run."""
    at_s = np.array([sample.at_s for sample in run.samples])
    events = [second for second, _ in run.faults]
    charts = [
        timeline(
            [Series(title, at_s, np.array([getattr(sample, name) for sample in run.samples], float))],
            title,
            unit or title,
            events=events,
            event="faults",
        )
        for name, (title, unit, _) in {**_LIMITS, "latency_ms": ("latency", "ms", 0)}.items()
    ]
    counts = Counter(outcome.name for _, outcome in run.faults)
    rows = []
    for name, count in sorted(counts.items()):
        outcomes = [outcome for _, outcome in run.faults if outcome.name == name]
        lost = sum(not outcome.survived for outcome in outcomes)
        longest = max(outcome.recovery_s for outcome in outcomes)
        wrong = sum(outcome.wrong_headers + outcome.half_written for outcome in outcomes)
        cells = [Cell(name), Cell(f"{count}"), Cell(f"{lost}"), Cell(f"{longest:.2f}"), Cell(f"{wrong}")]
        rows.append(cells)
    titles = ("times", "not survived", "longest recovery [s]", "wrong headers, half files")
    table = Table([Column("fault", numeric=False), *map(Column, titles)], rows, wide=True)
    notes = [Note(f"Shorter than {_SHORTEST_MIN:g} min: no slope is judged.")] if minutes < _SHORTEST_MIN else []
    sections = [Section("Over time", charts), Section("Faults", [table])]
    return Page("Soak", f"{minutes:g} min at 30 Hz, 320x240", figures, sections, notes)


def main() -> int:
    """Run, write soak.html, print the figures; return 1 where one of them is bad."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("soak_output"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Rig(Path(folder)) as rig:
        run = endure(rig, 60 * options.minutes, options.seed)
    figures = tiles(run, options.minutes)
    print(write(page(run, options.minutes, figures), options.out / "soak.html"))
    for tile in figures:
        print(f"{tile.label}: {tile.value} ({tile.note}) {tile.verdict}")
    return int(any(tile.verdict == "bad" for tile in figures))


if __name__ == "__main__":
    sys.exit(main())
