"""Reports of an evaluation, offline or live: files, terminal output, and the exit status."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from erfnet_ros.evaluation import thresholds
from erfnet_ros.evaluation.report.build import write_report
from erfnet_ros.evaluation.results.result import LIVE, Result
from erfnet_ros.evaluation.thresholds import Requirement


def write_reports(
    result: Result, folder: Path, compare: Result | None = None, requirements: Sequence[Requirement] = ()
) -> int:
    """Write the report with its result.json, print a summary, and check the requirements.

    Args:
        result: What the evaluation came to.
        folder: Output folder.
        compare: Another run, compared with this one in the report.
        requirements: What must hold.

    Returns:
        0, or 1 where a requirement does not hold.

    Raises:
        ErfnetError: A file cannot be written, or a requirement names a class that does not exist.
    """
    verdicts = thresholds.check(requirements, result)
    files = write_report(result, folder, compare, verdicts)
    print("\n".join(lines(result)))
    for verdict in verdicts:
        print(f"require       {verdict.text}")
    print(f"written       {', '.join(map(str, files))}")
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def lines(result: Result) -> list[str]:
    """Return the result for people, a line each."""
    frames, told = result.frames, []
    told.append(
        f"images        {frames.images}, {frames.answered} answered, {frames.dropped} dropped, "
        f"{frames.rejected} rejected"
    )
    told.append(f"speed         {result.fps:.1f} images per second")
    if result.latency_ms is not None:
        latency = result.latency_ms
        told.append(
            f"latency       {latency.p50:.1f} / {latency.p90:.1f} / {latency.p99:.1f} / {latency.max:.1f} ms "
            "(p50 / p90 / p99 / max)"
        )
    if result.temporal_consistency.share is not None:
        told.append(
            f"consistency   {100 * result.temporal_consistency.share:.2f} % of pixels keep their label in the next mask"
        )
    if result.miou is not None and result.figures is not None:
        told.append(f"mIoU          {100 * result.miou:.2f} % over {frames.scored} images")
        if result.figures.absent:
            told.append(f"no truth      {result.figures.absent_classes()}; left out of the mean")
        if result.mode == LIVE and result.streaming_miou is not None:
            told.append(f"streaming     {100 * result.streaming_miou:.2f} % mIoU with lateness counted")
        width = max(map(len, result.figures.iou))
        told += [
            f"  {name:<{width}} {'-' if iou is None else f'{100 * iou:.1f} %':>8}"
            for name, iou in result.figures.iou.items()
        ]
    return told + [f"note: {note}" for note in result.notes]
