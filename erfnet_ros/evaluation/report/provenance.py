"""Provenance section of the report: bags, checkpoint, engine, machine, versions, methods."""

from __future__ import annotations

from collections.abc import Mapping

from erfnet_ros.evaluation.results.result import Result
from erfnet_ros.visualization.html.elements import RUNS, Block, Cell, Column, Metadata, Note, Section, Table
from erfnet_ros.visualization.html.formatting import UNKNOWN, duration, number


def provenance_section(result: Result, other: Result | None) -> Section:
    """Return what a reader needs to reproduce the numbers, for both runs where there are two."""
    here = _metadata(result)
    blocks: list[Block] = [_bags_table(result, "Bags" if other is None else f"Bags, {RUNS[0]}")]
    if other is None:
        blocks.append(Metadata([(name, (value,)) for name, value in here.items()]))
    else:
        there = _metadata(other)
        names = list(dict.fromkeys([*here, *there]))
        rows = [(name, (here.get(name, UNKNOWN), there.get(name, UNKNOWN))) for name in names]
        blocks += [_bags_table(other, f"Bags, {RUNS[1]}"), Metadata(rows, RUNS)]
    return Section("Provenance", [*blocks, *map(Note, result.methods)])


def _metadata(result: Result) -> dict[str, str]:
    provenance = result.provenance
    metadata = {
        "mode": result.mode
        if provenance.rate is None
        else f"{result.mode}, at {provenance.rate:g} times the bag's speed",
        "checkpoint": provenance.checkpoint,
        "checkpoint SHA-256": provenance.checkpoint_sha256,
        **_named("checkpoint", provenance.checkpoint_metadata),
        "classes": f"{result.class_set.name}: {', '.join(result.class_set.names)}",
        "engine": f"{provenance.engine} on {provenance.device} in {provenance.precision}",
        "input size": provenance.input_size,
        "confidence threshold": f"{provenance.threshold:g}",
        "tolerance of stamps": f"{provenance.tolerance_s:g} s",
        "command": provenance.command,
        "started": provenance.started,
        "took": duration(provenance.duration_s),
        **_named("machine", provenance.machine),
        **_named("version", provenance.versions),
    }
    return {name: value for name, value in metadata.items() if value}


def _named(group: str, metadata: Mapping[str, str]) -> dict[str, str]:
    return {f"{group}: {name.replace('_', ' ')}": value for name, value in metadata.items()}


def _bags_table(result: Result, title: str) -> Table:
    columns = [Column(name, numeric=False) for name in ("bag", "image topic", "ground truth", "fingerprint")]
    columns += [Column(name) for name in ("images", "ground truths", "duration")]
    rows = []
    for bag in result.bags:
        words = [bag.name, bag.image_topic, bag.ground_truth_topic or "none", bag.fingerprint[:16]]
        numbers = [number(bag.frames), number(bag.ground_truths), duration(bag.duration_s)]
        rows.append([Cell(text) for text in (*words, *numbers)])
    return Table(columns, rows, title, wide=True)
