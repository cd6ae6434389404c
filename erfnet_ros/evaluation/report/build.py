"""The report of an evaluation: an HTML page for people, Markdown for a pull request, and JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from erfnet_ros import __version__
from erfnet_ros.core.errors import ImageError
from erfnet_ros.core.output_files import write_file
from erfnet_ros.core.printable_text import printable
from erfnet_ros.evaluation import thresholds
from erfnet_ros.evaluation.report.accuracy import accuracy_section, classes_table, stability_section
from erfnet_ros.evaluation.report.provenance import provenance_section
from erfnet_ros.evaluation.report.summary_tiles import requirement_notes, statistics_table, tiles
from erfnet_ros.evaluation.report.timing import timing_section
from erfnet_ros.evaluation.results.result import LIVE, Result
from erfnet_ros.evaluation.thresholds import Requirement, Verdict
from erfnet_ros.visualization.html import render
from erfnet_ros.visualization.html.elements import Block, Note, Page, Picture, Section
from erfnet_ros.visualization.html.formatting import percent
from erfnet_ros.visualization.html.images import file_uri

RESULT = "result.json"
PAGE = "report.html"
TEXT = "report.md"

_FRAMES = {"worst": "Worst", "best": "Best", "uncertain": "Least sure"}


def write_reports(
    result: Result, folder: Path, *, compare: Result | None = None, requirements: Sequence[Requirement] = ()
) -> int:
    """Write the report with its result.json, print a summary, and check the requirements.

    Returns:
        0, or 1 where a requirement does not hold.
    """
    verdicts = thresholds.check(requirements, result)
    files = write_report(result, folder, compare=compare, verdicts=verdicts)
    print("\n".join(printable(line, 1000) for line in _summary(result)))
    for verdict in verdicts:
        print(f"require       {verdict.text}")
    print(f"written       {', '.join(map(str, files))}")
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def _summary(result: Result) -> list[str]:
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
    if result.miou is not None and result.statistics is not None:
        told.append(f"mIoU          {100 * result.miou:.2f} % over {frames.scored} images")
        if result.statistics.absent:
            told.append(f"absent        {result.statistics.absent_classes()}; no ground truth, left out of the mean")
        if result.mode == LIVE and result.streaming_miou is not None:
            told.append(f"streaming     {100 * result.streaming_miou:.2f} % mIoU with lateness counted")
        width = max(map(len, result.statistics.iou))
        told += [
            f"  {name:<{width}} {'-' if iou is None else f'{100 * iou:.1f} %':>8}"
            for name, iou in result.statistics.iou.items()
        ]
    return told + [f"note: {note}" for note in result.notes]


def write_report(
    result: Result, folder: Path, *, compare: Result | None = None, verdicts: Sequence[Verdict] = ()
) -> list[Path]:
    """Write `result.json`, `report.html` and `report.md`, and return their paths."""
    # The figures first: a fault in the drawing must not cost them.
    result.write(folder / RESULT)
    render.write(build_page(result, folder, compare=compare, verdicts=verdicts), folder / PAGE)
    write_file(folder / TEXT, build_markdown(result, compare, verdicts))
    return [folder / name for name in (RESULT, PAGE, TEXT)]


def build_page(
    result: Result, folder: Path, *, compare: Result | None = None, verdicts: Sequence[Verdict] = ()
) -> Page:
    """Return the page; see `write_report`."""
    sections = [
        accuracy_section(result, compare),
        timing_section(result, compare),
        stability_section(result),
        frames_section(result, folder),
        Section("Figures", [statistics_table(result, compare)]),
        provenance_section(result, compare),
    ]
    return Page(
        title=_title(result),
        subtitle=_subtitle(result, compare),
        tiles=tiles(result, compare, verdicts),
        sections=sections,
        notes=_notes(result, verdicts),
        footer=f"Written by erfnet_ros {__version__}. This file holds everything that it shows.",
    )


def frames_section(result: Result, folder: Path) -> Section:
    """Return the strips of image, ground truth, mask and overlay; one missing in `folder` is named in its place."""
    blocks: list[Block] = []
    for kind, word in _FRAMES.items():
        for picture in (picture for picture in result.pictures if picture.kind == kind):
            title = f"{word}: frame {picture.index} of {result.bags[picture.bag].name}"
            weakest = ", ".join(f"{name} {percent(iou)}" for name, iou in picture.weakest.items())
            parts = [
                "" if picture.miou is None else f"mIoU {percent(picture.miou)}",
                f"weakest: {weakest}" if weakest else "",
                "" if picture.confidence is None else f"mean confidence {percent(picture.confidence)}",
                f"stamp {picture.stamp_ns / 1e9:.3f} s",
            ]
            try:
                uri = file_uri(folder / picture.file)
            except ImageError as error:
                blocks.append(Note(f"{title}: {error}", "fair"))
            else:
                blocks.append(Picture(uri, title, ", ".join(text for text in parts if text)))
    return Section("Frames to look at", blocks)


def build_markdown(result: Result, compare: Result | None = None, verdicts: Sequence[Verdict] = ()) -> str:
    """Return the summary tiles and the table by class as GitHub-flavored Markdown."""
    parts = [f"### {render.escape(_title(result))}", render.escape(_subtitle(result, compare))]
    parts += [render.note(note) for note in _notes(result, verdicts)]
    parts.append(render.tiles_table(tiles(result, compare, verdicts)))
    if result.statistics is not None:
        table = render.table(classes_table(result, compare))
        parts.append(f"<details><summary>By class</summary>\n\n{table}\n\n</details>")
    provenance = result.provenance
    bags = ", ".join(f"{bag.name} ({bag.fingerprint[:16]})" for bag in result.bags)
    parts.append(
        render.escape(f"Checkpoint {provenance.checkpoint} ({provenance.checkpoint_sha256[:16]}); bags: {bags}.")
    )
    return "\n\n".join(parts) + "\n"


def _title(result: Result) -> str:
    bags = result.bags[0].name if len(result.bags) == 1 else f"{len(result.bags)} bags"
    return f"Segmentation of {bags}"


def _subtitle(result: Result, compare: Result | None) -> str:
    text = f"{_run(result)}; {result.provenance.started}"
    return text if compare is None else f"{text}. Compared with: {_run(compare)}; {compare.provenance.started}"


def _run(result: Result) -> str:
    provenance = result.provenance
    speed = "" if provenance.rate is None else f" at {provenance.rate:g}x"
    computed = f"{provenance.engine} on {provenance.device} in {provenance.precision}"
    return f"{result.mode}{speed}, {provenance.checkpoint} with {computed}"


def _notes(result: Result, verdicts: Sequence[Verdict]) -> list[Note]:
    """Return what a reader must know first: requirements, faults, and what the numbers leave out."""
    notes = requirement_notes(verdicts)
    notes += [Note(f"{bag.name}: {fault}", "fair") for bag in result.bags for fault in bag.faults]
    notes += [Note(note, "fair") for note in result.notes]
    if result.statistics is None:
        notes.append(Note("There was no ground truth to compare the masks with: accuracy is not known.", "fair"))
    elif result.statistics.absent:
        absent = result.statistics.absent_classes()
        notes.append(Note(f"Without ground truth, and so left out of the means: {absent}."))
    return notes
