"""Evaluation report in HTML and Markdown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import browser
from support.evaluation_samples import PROVENANCE

from erfnet_ros.core.array_types import VOID
from erfnet_ros.core.class_set import CAMVID, ClassSet
from erfnet_ros.evaluation import thresholds
from erfnet_ros.evaluation.metadata import BagMetadata, FrameCounts, Picture, Usage
from erfnet_ros.evaluation.metrics.latency import jitter_ms, latency_statistics
from erfnet_ros.evaluation.metrics.segmentation_score import Score
from erfnet_ros.evaluation.metrics.temporal_consistency import TemporalConsistency
from erfnet_ros.evaluation.report.accuracy import classes_table
from erfnet_ros.evaluation.report.build import build_markdown, build_page, frames_section, write_report
from erfnet_ros.evaluation.report.summary_tiles import requirement_notes, tiles
from erfnet_ros.evaluation.report.timing import event_times_s, timing_section
from erfnet_ros.evaluation.results.frame_records import FrameRecord
from erfnet_ros.evaluation.results.result import LIVE, OFFLINE, Result
from erfnet_ros.visualization.contact_sheet import Sample, labeled_strip, write_png
from erfnet_ros.visualization.html import elements as html
from erfnet_ros.visualization.html.elements import Note, Page, Table, Tile
from erfnet_ros.visualization.html.formatting import UNKNOWN, milliseconds, percent

FRAMES = 12
DROPPED = (3, 4, 9)
SECOND_NS = 1_000_000_000
PICTURE = "pictures/worst_0.png"
ORIGIN = replace(PROVENANCE, rate=1.0, command="erfnet evaluate-bag drive --live -o out")


def ground_truth_of(index: int) -> np.ndarray:
    """Return labels of frame `index`, (48, 64): every class as an upright band, which moves to the left."""
    columns = (np.arange(64) + 2 * index) % 64
    return np.tile((columns * len(CAMVID) // 64).astype(np.uint8), (48, 1))


def spoiled(ground_truth: np.ndarray, index: int, wrong: float) -> np.ndarray:
    """Return `ground_truth` with a share of the known pixels shifted by one class."""
    random = np.random.default_rng(index)
    hit = (random.random(ground_truth.shape) < wrong) & (ground_truth != VOID)
    return np.where(hit, (ground_truth + 1) % len(CAMVID), ground_truth).astype(np.uint8)


def live(slowness_ms: float = 40.0, wrong: float = 0.2, dropped: tuple[int, ...] = DROPPED) -> Result:
    """Return what a live run over a small street comes to."""
    score, streaming, consistency = Score(CAMVID), Score(CAMVID, boundaries=False), TemporalConsistency(len(CAMVID))
    records: list[FrameRecord] = []
    held: np.ndarray | None = None
    for index in range(FRAMES):
        ground_truth = ground_truth_of(index)
        stamp = 100 * SECOND_NS + index * SECOND_NS // 10
        streaming.add(ground_truth, np.full_like(ground_truth, VOID) if held is None else held)
        if index in dropped:
            records.append(FrameRecord(0, index, stamp, "dropped", "a newer image came before the node took it"))
            continue
        held = spoiled(ground_truth, index, wrong)
        confidence = np.full(ground_truth.shape, 230, np.uint8)
        statistics = score.add(ground_truth, held, confidence)
        changed = consistency.add(held)
        latency = slowness_ms + index
        mean = statistics.mean_confidence
        records.append(FrameRecord(0, index, stamp, "answered", None, latency, statistics.miou, mean, changed))
    latencies = [record.latency_ms for record in records if record.latency_ms is not None]
    answered = len(latencies)
    return Result(
        mode=LIVE,
        bags=(BagMetadata("drive", "a1b2" * 16, FRAMES, FRAMES, 1.1, "/camera/image", "/camera/truth"),),
        class_set=CAMVID,
        frames=FrameCounts(FRAMES, answered, len(dropped), 0, answered, FRAMES, 0, 0, 0),
        score=score,
        streaming_score=streaming,
        fps=9.7,
        latency_ms=latency_statistics(latencies),
        jitter_ms=jitter_ms(latencies),
        age_ms=latency_statistics([latency + 50 for latency in latencies]),
        stages_ms={"inference": latency_statistics([20.0, 21.0])},
        temporal_consistency=consistency.statistics(CAMVID.names),
        usage=Usage(171.0, 812.0),
        provenance=ORIGIN,
        records=tuple(records),
        pictures=(Picture("worst", PICTURE, 0, 2, records[2].stamp_ns, records[2].miou, 0.9, {"pole": 0.12}),),
        notes=("Two ground truths were of another size.",),
    )


def offline(result: Result) -> Result:
    """Return the same frames as an offline run has them: nothing is late and nothing dropped."""
    records = tuple(replace(r, outcome="answered", reason=None, latency_ms=None) for r in result.records)
    counts = replace(result.frames, answered=FRAMES, dropped=0)
    nothing = dict.fromkeys(("streaming_score", "latency_ms", "jitter_ms", "age_ms"))
    provenance = replace(result.provenance, rate=None)
    return replace(result, mode=OFFLINE, records=records, frames=counts, provenance=provenance, **nothing)


def without_ground_truth(result: Result) -> Result:
    """Return the run of a bag that nobody labeled."""
    records = tuple(replace(record, miou=None) for record in result.records)
    return replace(result, score=None, streaming_score=None, records=records)


def draw(folder: Path) -> None:
    """Write the picture that the result names."""
    ground_truth = ground_truth_of(2)
    rgb = CAMVID.palette()[ground_truth]
    (folder / PICTURE).parent.mkdir(exist_ok=True)
    write_png(folder / PICTURE, labeled_strip(Sample("frame 2", rgb, ground_truth, ground_truth, rgb), CAMVID))


def tiles_of(
    result: Result, other: Result | None = None, verdicts: tuple[thresholds.Verdict, ...] = ()
) -> dict[str, Tile]:
    """Return the summary tiles by their label."""
    return {tile.label: tile for tile in tiles(result, other, verdicts)}


def titles_of(page: Page) -> list[str]:
    """Return the titles of all that stands in the sections."""
    return [title for section in page.sections for block in section.blocks if (title := getattr(block, "title", ""))]


def test_a_browser_shows_the_figures_of_the_result(tmp_path: Path) -> None:
    result = live()
    draw(tmp_path)
    files = write_report(result, tmp_path, compare=offline(live(wrong=0.3)))
    assert [file.name for file in files] == ["result.json", "report.html", "report.md"]
    assert Result.read(tmp_path).to_dict() == result.to_dict()
    found = browser.document(tmp_path / "report.html", tmp_path)
    for text in (
        f"mIoU {percent(result.miou)}",
        f"streaming mIoU {percent(result.streaming_miou)}",
        "dropped 25.0 %",
        "3 of 12 images",
        milliseconds(result.latency_ms.p99),
        "a newer image came before the node took it",
        "Two ground truths were of another size.",
        "Worst: frame 2 of drive",
        ORIGIN.checkpoint_sha256,
    ):
        assert text in found.text, text
    assert found.tags.count("img") == 1
    assert all(reference.startswith(("#", "data:")) for reference in found.references)


@pytest.mark.parametrize("width", [320, 390])
def test_on_a_phone_bars_and_the_page_are_not_scrolled_sideways(tmp_path: Path, width: int) -> None:
    """Tables are, and what is too wide to be read when it is made smaller: curves over time, the confusion matrix."""
    draw(tmp_path)
    write_report(live(), tmp_path, compare=live(wrong=0.3))
    scrolled = browser.wider_than(width, tmp_path / "report.html", tmp_path)
    assert {kind for kind, _ in scrolled} <= {"table", "table wide", "chart wide"}
    assert "IoU by class" not in [title for _, title in scrolled]


def test_an_offline_run_says_nothing_of_latency(tmp_path: Path) -> None:
    """Its frames wait for the network, so a figure would mean nothing on a robot."""
    page = build_page(offline(live()), tmp_path)
    assert not {"latency p50", "latency p99", "streaming mIoU", "dropped"} & {tile.label for tile in page.tiles}
    assert not [title for title in titles_of(page) if "atency" in title or "without a mask" in title]
    assert "IoU by class" in titles_of(page)


def test_a_live_run_shows_latency_lateness_and_what_was_dropped(tmp_path: Path) -> None:
    titles = titles_of(build_page(live(), tmp_path))
    for title in ("Latency", "Latency, and frames without a mask", "Frames without a mask", "Where the time goes"):
        assert title in titles
    assert "What lateness costs: IoU by class" in titles


def test_a_comparison_says_which_way_each_figure_went() -> None:
    """More is better for accuracy and worse for latency: the color must not follow the sign alone."""
    better, worse = live(40.0, 0.1, ()), live(140.0, 0.4)
    shown = tiles_of(better, worse)
    assert shown["mIoU"].change.startswith("+")
    assert shown["mIoU"].change_verdict == "good"
    assert shown["latency p99"].change.startswith("\u2212")
    assert shown["latency p99"].change_verdict == "good"
    assert (shown["dropped"].change, shown["dropped"].change_verdict) == ("\u221225.0 points", "good")
    assert (shown["memory"].change, shown["memory"].change_verdict) == ("±0 MB", "plain")
    turned = tiles_of(worse, better)
    assert {turned[label].change_verdict for label in ("mIoU", "latency p99", "dropped")} == {"bad"}


def test_a_comparison_with_an_offline_run_leaves_out_what_only_one_has() -> None:
    shown = tiles_of(live(), offline(live()))
    assert shown["latency p99"].change == ""
    assert shown["mIoU"].change == "±0.0 points"
    assert tiles_of(offline(live()), live())["latency p99"].value == UNKNOWN


def test_a_comparison_with_other_classes_pairs_them_by_name() -> None:
    other = live()
    renamed = ClassSet("mine", ("lawn", *CAMVID.names[1:]), CAMVID.colors)
    score = Score(renamed)
    score.matrix = other.score.matrix
    table = classes_table(live(), replace(other, class_set=renamed, score=score))
    rows = {row[0].text: [cell.text for cell in row] for row in table.rows}
    assert rows["sky"][2:4] == [UNKNOWN, ""]
    assert rows["road"][3] == "±0.0 points"


def test_the_gate_s_outcome_stands_first_and_colors_its_figures(tmp_path: Path) -> None:
    result = live()
    verdicts = thresholds.check(thresholds.parse("miou>=0.99 dropped<=0.5"), result)
    note = build_page(result, tmp_path, verdicts=verdicts).notes[0]
    assert note.verdict == "bad"
    assert note.text.startswith("Requirement miou>=0.99: failed")
    assert tiles_of(result, None, verdicts)["mIoU"].verdict == "bad"
    assert tiles_of(result, None, verdicts)["dropped"].verdict == "good"
    assert "❌" in build_markdown(result, None, verdicts)


def test_latency_and_losses_are_judged_by_the_bag_without_requirements() -> None:
    """Twelve images in 1.1 s: one every 100 ms. A mask that takes longer is older than the next image."""
    verdicts = [tiles_of(live(slowness_ms), None, ())["latency p99"].verdict for slowness_ms in (40.0, 110.0, 250.0)]
    assert verdicts == ["good", "fair", "bad"]
    assert "an image every 100" in tiles_of(live(), None, ())["latency p99"].note
    assert tiles_of(live(), None, ())["dropped"].verdict == "bad"
    assert tiles_of(live(dropped=()), None, ())["dropped"].verdict == "good"


def test_how_the_figures_were_measured_stands_in_the_provenance_and_not_on_top(tmp_path: Path) -> None:
    page = build_page(replace(live(), methods=("Latency runs from image to mask.",)), tmp_path)
    assert Note("Latency runs from image to mask.") in page.sections[-1].blocks
    assert not any("Latency runs" in note.text for note in page.notes)


def test_the_worst_frames_name_the_classes_that_failed(tmp_path: Path) -> None:
    result = live()
    draw(tmp_path)
    (picture,) = [block for block in frames_section(result, tmp_path).blocks if isinstance(block, html.Picture)]
    assert "weakest: pole 12.0 %" in picture.caption


def test_a_passed_gate_is_said_once() -> None:
    verdicts = thresholds.check(thresholds.parse("miou>=0.01 dropped<=0.5"), live())
    assert requirement_notes(verdicts) == [Note("Requirements met: miou>=0.01, dropped<=0.5", "good")]


def test_a_picture_that_is_missing_is_named_in_its_place(tmp_path: Path) -> None:
    """A report that fails for one file would cost the whole evaluation."""
    (note,) = frames_section(live(), tmp_path).blocks
    assert isinstance(note, Note)
    assert note.text.startswith("Worst: frame 2 of drive: Cannot read the picture")


def test_without_ground_truth_the_report_says_so_and_shows_the_rest(tmp_path: Path) -> None:
    page = build_page(without_ground_truth(live()), tmp_path)
    assert any("no ground truth" in note.text for note in page.notes)
    labels = [tile.label for tile in page.tiles]
    assert "mIoU" not in labels
    assert "latency p99" in labels
    assert "By class" not in build_markdown(without_ground_truth(live()))


def test_absent_classes_and_faults_of_the_bag_are_said_before_the_figures(tmp_path: Path) -> None:
    result = live()
    bags = (replace(result.bags[0], faults=("the last chunk is cut off",)),)
    score = Score(CAMVID)
    score.add(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8))
    texts = [note.text for note in build_page(replace(result, bags=bags, score=score), tmp_path).notes]
    assert "drive: the last chunk is cut off" in texts
    assert any(text.startswith("Without ground truth") and "building, pole" in text for text in texts)


def test_frames_without_a_mask_are_counted_by_reason() -> None:
    result = live()
    records = list(result.records)
    records[0] = replace(records[0], outcome="rejected", reason="encoding 'mono16'", latency_ms=None)
    section = timing_section(replace(result, records=tuple(records)), None)
    table = section.blocks[-1]
    assert isinstance(table, Table)
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["dropped", "a newer image came before the node took it", "3"],
        ["rejected", "encoding 'mono16'", "1"],
    ]


def test_the_time_axis_runs_one_way_through_all_bags() -> None:
    """Clocks of two bags have nothing to do with each other, and a stamp may jump back."""
    stamps = ((0, 50.0), (0, 51.0), (0, 50.5), (0, 53.0), (1, 7.0), (1, 9.0))
    records = tuple(
        FrameRecord(bag, index, int(stamp * SECOND_NS), "answered") for index, (bag, stamp) in enumerate(stamps)
    )
    np.testing.assert_allclose(event_times_s(replace(live(), records=records)), [0, 1, 1, 3, 4, 6])


def test_the_report_of_a_single_frame_can_be_drawn(tmp_path: Path) -> None:
    result = live()
    one = replace(result, records=result.records[:1], latency_ms=latency_statistics([40.0]), jitter_ms=None)
    assert "Latency over time" in titles_of(build_page(one, tmp_path))


def test_markdown_has_the_same_tiles_as_the_page() -> None:
    result, other = live(), live(80.0, 0.3)
    text = build_markdown(result, other)
    for label, tile in tiles_of(result, other).items():
        line = next(line for line in text.split("\n") if line.startswith(f"| {label} |"))
        assert tile.value in line
        assert tile.change in line
    for name, iou in result.statistics.iou.items():
        assert f"| {name.replace('_', chr(92) + '_')} | {percent(iou)} |" in text


def test_a_bag_s_name_is_no_markup_in_markdown() -> None:
    result = live()
    bags = (replace(result.bags[0], name="<img src=x>|*a*"),)
    text = build_markdown(replace(result, bags=bags))
    assert "<img" not in text
    assert r"&lt;img src=x&gt;\|\*a\*" in text
