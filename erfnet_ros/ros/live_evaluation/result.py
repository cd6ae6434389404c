"""Result of a live evaluation, combined from its bags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np

from erfnet_ros.evaluation.metadata import Provenance, Usage
from erfnet_ros.evaluation.metrics.latency import LatencyStatistics, jitter_ms, latency_statistics
from erfnet_ros.evaluation.offline.aggregate import combine
from erfnet_ros.evaluation.offline.job import JobResult
from erfnet_ros.evaluation.results.frame_records import ANSWERED, DROPPED, REJECTED, FrameRecord
from erfnet_ros.evaluation.results.provenance import EngineMetadata
from erfnet_ros.evaluation.results.result import LIVE, Result
from erfnet_ros.ros.live_evaluation.drop_reasons import LOST_AFTER, LOST_BEFORE, SKIPPED
from erfnet_ros.ros.live_evaluation.scoring import LiveScore

_PACE_KEPT = 1.05
"""A replay that takes so much longer than it should was not at the rate that was asked for."""

_RECORDING_DELAY_MAX_MS = 10_000.0
"""A stamp farther from the bag's time is of another clock."""


def live_result(scores: Sequence[LiveScore], *, engine: EngineMetadata, source: Provenance, folder: Path) -> Result:
    """Combine the scores of the bags, and write the pictures.

    Raises:
        EvaluationError: A picture cannot be written.
    """
    outcomes = [JobResult(score.scan, engine, score.accumulator) for score in scores]
    result = combine(outcomes, source, folder)
    playing_s = sum(score.recording.playing_s for score in scores)
    streaming = [score.streaming for score in scores if score.streaming is not None]
    dropped = sum(record.outcome == DROPPED for record in result.records)
    return replace(
        result,
        mode=LIVE,
        frames=replace(result.frames, dropped=dropped),
        streaming_score=reduce(add, streaming) if streaming else None,
        fps=result.frames.answered / playing_s if playing_s else 0.0,
        latency_ms=latency_statistics([value for score in scores for value in score.latencies_ms]),
        jitter_ms=_jitter_ms(scores),
        age_ms=latency_statistics([value for score in scores for value in score.ages_ms]),
        stages_ms=_stages_ms(scores),
        usage=_usage(scores),
        provenance=replace(source, duration_s=playing_s),
        methods=(_harness_note(scores),),
        notes=(*_notes(scores, result.records, source.rate or 1.0), *result.notes),
    )


def _jitter_ms(scores: Sequence[LiveScore]) -> float | None:
    """Return the mean over all bags; no step leads from one bag to the next."""
    steps = [(jitter_ms(score.latencies_ms), len(score.latencies_ms) - 1) for score in scores]
    known = [(value, count) for value, count in steps if value is not None]
    total = sum(count for _, count in known)
    return sum(value * count for value, count in known) / total if total else None


def _stages_ms(scores: Sequence[LiveScore]) -> dict[str, LatencyStatistics]:
    stages: dict[str, list[float]] = {}
    for score in scores:
        recording = score.recording
        parts = {
            **recording.stages_ms,
            # The player's call of publish is all of the measuring that lies between the two moments.
            "harness": [sent.publish_ms for sent in recording.sent],
            "recording": _recording_delays_ms(score),
        }
        for stage, values in parts.items():
            stages.setdefault(stage, []).extend(values)
    # Under its name in the statistics, total would seem to be the sum of all.
    stages["node"] = stages.pop("total")
    return {stage: found for stage, values in stages.items() if (found := latency_statistics(values)) is not None}


def _recording_delays_ms(score: LiveScore) -> Sequence[float]:
    """Return how long each image took from its stamp into the bag; nothing where stamp and bag have other clocks."""
    images = score.scan.images
    delays = (images.bag_ns - images.header_ns) / 1e6
    plausible = not images.blank and (np.abs(delays) <= _RECORDING_DELAY_MAX_MS).all() and delays.any()
    return tuple(delays.tolist()) if plausible else ()


def _usage(scores: Sequence[LiveScore]) -> Usage | None:
    """Return the usage over all bags: means by time, maxima of all."""
    known = [(score.recording.usage, score.recording.playing_s) for score in scores if score.recording.usage]
    total = sum(seconds for _, seconds in known)
    if not known or not total:
        return None

    def mean(name: str) -> float | None:
        values = [(getattr(usage, name), seconds) for usage, seconds in known]
        if any(value is None for value, _ in values):
            return None
        return float(sum(value * seconds for value, seconds in values) / total)

    gpu_memory = [usage.gpu_memory_mb for usage, _ in known if usage.gpu_memory_mb is not None]
    return Usage(
        cpu_percent=mean("cpu_percent") or 0.0,
        memory_mb=max(usage.memory_mb for usage, _ in known),
        memory_mean_mb=mean("memory_mean_mb"),
        gpu_percent=mean("gpu_percent"),
        gpu_memory_mb=max(gpu_memory, default=None),
    )


def _notes(scores: Sequence[LiveScore], records: Sequence[FrameRecord], rate: float) -> list[str]:
    notes = []
    dropped = [record.reason for record in records if record.outcome == DROPPED]
    if dropped:
        counts = {reason: dropped.count(reason) for reason in (SKIPPED, LOST_BEFORE, LOST_AFTER)}
        told = ", ".join(
            f"{count} because {reason}" if reason == SKIPPED else f"{count} {reason}"
            for reason, count in counts.items()
            if count
        )
        notes.append(f"Of {len(records)} images {len(dropped)} were dropped: {told}.")
    for score in scores:
        notes += [
            f"{score.scan.metadata.name}: {note}" if len(scores) > 1 else note for note in _bag_notes(score, rate)
        ]
    return notes


def _harness_note(scores: Sequence[LiveScore]) -> str:
    """Return what is measured, and what measuring adds to it."""
    added = latency_statistics([sent.publish_ms for score in scores for sent in score.recording.sent])
    taken = latency_statistics([value for score in scores for value in score.recording.taken_ms])
    percent = max(score.recording.harness_percent for score in scores)
    by = "the middleware of another process" if taken else "another process"
    told = [f"Latency runs from the publication of the image to the moment at which {by} had received its mask."]
    if added:
        told.append(
            f"The measuring adds to it at most the player's call of publish, {added.p50:.2f} ms of processor time "
            f"(p99 {added.p99:.2f} ms), most of which a camera's driver takes as well."
        )
    if taken:
        told.append(
            f"The further {taken.p50:.2f} ms (p99 {taken.p99:.2f} ms) until this program took it are not included."
        )
    else:
        told.append("It includes the time to take the mask: the middleware gives no time of receipt.")
    told.append(f"Player and collector together took {percent:.0f} % of a core.")
    return " ".join(told)


def _bag_notes(score: LiveScore, rate: float) -> list[str]:
    recording, images = score.recording, score.scan.images
    notes = []
    if recording.mismatched:
        notes.append(f"{recording.mismatched} outputs of the node belonged to no image that was played.")
    expected_s = (images.bag_ns[-1] - images.bag_ns[0]) / 1e9
    first, last = recording.sent[0].published_ns, recording.sent[-1].published_ns
    asked_s = expected_s / rate
    if (last - first) / 1e9 > _PACE_KEPT * asked_s + 0.5:
        notes.append(
            f"The replay took {(last - first) / 1e9:.1f} s instead of {asked_s:.1f} s: this machine cannot play the "
            f"bag at {rate:g} times its own pace."
        )
    answered = sum(record.outcome == ANSWERED for record in score.accumulator.records)
    rejected = sum(record.outcome == REJECTED for record in score.accumulator.records)
    counts = recording.counts
    if counts.rejected > rejected or counts.processed < answered:
        notes.append(
            f"The node counts {counts.processed} images segmented, {counts.dropped} skipped and {counts.rejected} "
            f"refused, which does not fit the {answered} masks that came back; does another program send it images?"
        )
    if recording.usage is None:
        notes.append("What the node took was not measured: its process was not found on this machine.")
    return notes
