"""Aggregation of the results of many bags."""

from __future__ import annotations

import re
from base64 import b64decode
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path

from erfnet_ros.core.errors import EvaluationError
from erfnet_ros.evaluation.inputs.bag_scan import BagScan
from erfnet_ros.evaluation.metadata import FrameCounts, Picture, Provenance, Usage
from erfnet_ros.evaluation.metrics.latency import latency_statistics
from erfnet_ros.evaluation.offline.job import JobResult
from erfnet_ros.evaluation.results.accumulator import STAGES, Accumulator, Resources
from erfnet_ros.evaluation.results.example_frames import KINDS, PER_KIND, Candidate, value_of
from erfnet_ros.evaluation.results.frame_records import ANSWERED, REJECTED
from erfnet_ros.evaluation.results.result import OFFLINE, Result

PICTURES = "frames"

_PICTURE_NAME = re.compile(r"\d+_\d+\.jpg")
_REASONS = 3
"""Kinds of refusal that are told in words."""


def combine(outcomes: Sequence[JobResult], provenance: Provenance, folder: Path) -> Result:
    """Aggregate the results of the bags, one each in the order of the report, and write the pictures."""
    scans, accumulators = [outcome.scan for outcome in outcomes], [outcome.accumulator for outcome in outcomes]
    records = tuple(
        replace(record, bag=bag) for bag, accumulator in enumerate(accumulators) for record in accumulator.records
    )
    score = reduce(add, (accumulator.score for accumulator in accumulators))
    seconds = sum(accumulator.resources.seconds for accumulator in accumulators)
    frames = _counts(scans, accumulators)
    consistency = reduce(add, (accumulator.temporal_consistency for accumulator in accumulators))
    stages = {
        stage: latency_statistics([value for accumulator in accumulators for value in accumulator.stages_ms[stage]])
        for stage in STAGES
    }
    return Result(
        mode=OFFLINE,
        bags=tuple(scan.metadata for scan in scans),
        class_set=score.class_set,
        frames=frames,
        score=None if all(scan.matches is None for scan in scans) else score,
        streaming_score=None,
        fps=frames.answered / seconds if seconds else 0.0,
        latency_ms=None,
        jitter_ms=None,
        age_ms=None,
        stages_ms={stage: value for stage, value in stages.items() if value is not None},
        temporal_consistency=consistency.statistics(score.class_set.names),
        usage=_usage([accumulator.resources for accumulator in accumulators]),
        provenance=replace(provenance, duration_s=seconds),
        records=records,
        pictures=_pictures(accumulators, folder),
        notes=tuple(dict.fromkeys(_notes(outcomes))),
    )


def _counts(scans: Sequence[BagScan], accumulators: Sequence[Accumulator]) -> FrameCounts:
    outcomes = Counter(record.outcome for accumulator in accumulators for record in accumulator.records)
    matches = [scan.matches for scan in scans if scan.matches is not None]
    return FrameCounts(
        images=outcomes.total(),
        answered=outcomes[ANSWERED],
        dropped=0,
        rejected=outcomes[REJECTED],
        scored=sum(accumulator.score.frames for accumulator in accumulators),
        ground_truths=sum(scan.metadata.ground_truths for scan in scans),
        unmatched_ground_truths=sum(found.unmatched_ground_truths for found in matches),
        unmatched_images=sum(found.unmatched_images for found in matches),
        refused_ground_truths=sum(accumulator.refusals.total() for accumulator in accumulators),
    )


def _usage(resources: Sequence[Resources]) -> Usage | None:
    seconds = sum(each.seconds for each in resources)
    if not seconds:
        return None
    gpu = max(each.gpu_memory_bytes for each in resources)
    return Usage(
        cpu_percent=100 * sum(each.cpu_seconds for each in resources) / seconds,
        memory_mb=max(each.memory_bytes for each in resources) / 1e6,
        gpu_memory_mb=gpu / 1e6 if gpu else None,
    )


def _pictures(accumulators: Sequence[Accumulator], folder: Path) -> tuple[Picture, ...]:
    chosen: list[tuple[str, int, Candidate]] = []
    for kind in KINDS:
        found = [
            (kind, bag, entry)
            for bag, accumulator in enumerate(accumulators)
            for entry in accumulator.example_frames.candidates()[kind]
        ]
        found.sort(key=lambda place: (value_of(place[0], place[2]), place[1], place[2].index))
        chosen += found[:PER_KIND]
    files = {f"{bag:03d}_{entry.index:06d}.jpg": b64decode(entry.jpeg) for _, bag, entry in chosen}
    target = folder / PICTURES
    try:
        target.mkdir(parents=True, exist_ok=True)
        for file in target.iterdir():
            # Those of an earlier run into this folder.
            if _PICTURE_NAME.fullmatch(file.name) and file.name not in files:
                file.unlink()
        for name, content in files.items():
            (target / name).write_bytes(content)
    except OSError as error:
        raise EvaluationError(f"Cannot write pictures to '{target}': {error.strerror}; free some space.") from error
    return tuple(
        Picture(
            kind,
            f"{PICTURES}/{bag:03d}_{entry.index:06d}.jpg",
            bag,
            entry.index,
            entry.stamp_ns,
            entry.miou,
            entry.confidence,
            entry.weakest,
        )
        for kind, bag, entry in chosen
    )


def _notes(outcomes: Sequence[JobResult]) -> list[str]:
    notes = [note for outcome in outcomes for note in outcome.engine.notes]
    computed = sorted({f"{o.engine.engine} on {o.engine.device} in {o.engine.precision}" for o in outcomes})
    if len(computed) > 1:
        notes.append(f"The bags were not computed alike: {', '.join(computed)}.")
    for outcome in outcomes:
        prefix = f"{outcome.scan.metadata.name}: " if len(outcomes) > 1 else ""
        notes += [prefix + note for note in _bag_notes(outcome.scan, outcome.accumulator)]
    return notes


def _bag_notes(scan: BagScan, accumulator: Accumulator) -> list[str]:
    metadata, matches = scan.metadata, scan.matches
    notes = [f"{fault}." if not fault.endswith(".") else fault for fault in metadata.faults]
    notes += [*scan.notes, *accumulator.notes]
    rejected = [record for record in accumulator.records if record.outcome == REJECTED]
    if rejected:
        notes.append(
            f"{len(rejected)} of {len(accumulator.records)} images could not be read, the first being image "
            f"{rejected[0].index}: {rejected[0].reason}"
        )
    if len(accumulator.records) < metadata.frames:
        lost = metadata.frames - len(accumulator.records)
        notes.append(f"{lost} of {metadata.frames} images were found by the scan and could not be read afterwards.")
    if matches is None:
        notes.append(
            "There is no ground truth, so accuracy was not measured; name it with --ground-truth-topic or "
            "--ground-truth-dir."
        )
    elif matches.unmatched_ground_truths or matches.unmatched_images:
        notes.append(
            f"{matches.unmatched_ground_truths} of {metadata.ground_truths} ground-truth images belong to no image, "
            f"and {matches.unmatched_images} of {metadata.frames} images have no ground truth."
        )
    if refused := accumulator.refusals.total():
        reasons = "; ".join(f"{count} x {reason}" for reason, count in accumulator.refusals.most_common(_REASONS))
        notes.append(f"{refused} ground-truth images cannot be used: {reasons}")
    return notes
