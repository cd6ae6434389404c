"""Report of a training run and the files behind it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from support import browser

from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.config_schema import build, encode
from erfnet_ros.core.errors import ErfnetError, ParameterError, SourceError
from erfnet_ros.evaluation.metrics.segmentation_score import Score
from erfnet_ros.training.config.recipe import Recipe, load
from erfnet_ros.training.history import CurvePoint, Evaluation, FrameResult, History
from erfnet_ros.training.report import build_page, write_report
from erfnet_ros.visualization.contact_sheet import Sample, labeled_strip, write_png
from erfnet_ros.visualization.html.elements import Code, Page

_, RECIPE = load("paper")


def history() -> History:
    """Return the curves of a run in two stages, validated every other time."""
    points = tuple(
        CurvePoint(
            "encoder" if k < 6 else "network", 10 * (k + 1), 2 - k / 10, 5e-4 / (k + 1), 0.05 * k if k % 2 else None
        )
        for k in range(12)
    )
    return History(
        data="camvid, split train (367 frames)",
        validated_on="val",
        recipe_name="paper",
        recipe=RECIPE,
        seed=7,
        command="erfnet train camvid --data camvid --out run",
        hardware="2 cores of AMD EPYC",
        versions={"torch": "2.9.1"},
        class_names=CAMVID.names,
        class_frequencies=tuple(np.full(11, 1 / 11).tolist()),
        steps=120,
        images=720,
        seconds=72.0,
        points=points,
    )


def evaluation(run: Path) -> Evaluation:
    """Score one frame, and sampler its picture into the run's folder."""
    ground_truth = np.tile((np.arange(64) * len(CAMVID) // 64).astype(np.uint8), (48, 1))
    rgb = CAMVID.palette()[ground_truth]
    labels = np.where(ground_truth == 0, 1, ground_truth).astype(np.uint8)
    score = Score(CAMVID)
    miou = score.add(ground_truth, labels, np.full(ground_truth.shape, 200, np.uint8)).miou
    write_png(run / "worst_1.png", labeled_strip(Sample("worst", rgb, ground_truth, labels, rgb), CAMVID))
    return Evaluation(
        "val",
        score,
        best=(FrameResult("0001", miou, "lost.png"),),
        worst=(FrameResult("0002", miou, "worst_1.png"),),
    )


def titles_of(page: Page) -> list[str]:
    """Return the titles of all that stands in the sections."""
    return [title for section in page.sections for block in section.blocks if (title := getattr(block, "title", ""))]


def test_the_page_is_written_from_the_files_of_the_run(tmp_path: Path) -> None:
    history().write(tmp_path)
    evaluation(tmp_path).write(tmp_path)
    path = write_report(tmp_path)
    assert path == tmp_path / "report.html"
    found = browser.Document(path.read_text(encoding="utf-8"))
    miou = evaluation(tmp_path).score.statistics().miou
    for text in (
        "Training: paper on camvid, split train (367 frames)",
        f"mIoU {100 * miou:.2f} % val, 1 frames",
        "best mIoU while training 55.00 %",
        "Worst: 0002",
        "Best: 0001: Cannot read the picture",
        "erfnet train camvid --data camvid --out run",
        "seed 7",
    ):
        assert text in found.text, text
    assert found.tags.count("img") == 1


def test_each_stage_has_a_line_of_its_own(tmp_path: Path) -> None:
    """A line across two stages would join losses of two networks."""
    chart = build_page(tmp_path, history(), None).sections[0].blocks[0]
    assert chart.title == "Training loss"
    assert {"encoder", "network"} <= set(re.findall(r"<text[^>]*>([^<]*)</text>", chart.svg))


def test_the_recipe_on_the_page_can_be_used_as_a_file(tmp_path: Path) -> None:
    page = build_page(tmp_path, history(), None)
    code = next(block for section in page.sections for block in section.blocks if isinstance(block, Code))
    assert build(Recipe, yaml.safe_load(code.text), "page") == RECIPE


def test_without_evaluation_the_page_says_that_the_score_is_not_known(tmp_path: Path) -> None:
    history().write(tmp_path)
    text = browser.Document(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert "Nothing was evaluated" in text
    assert "Confusion matrix" not in text


def test_a_run_that_watched_nothing_has_no_curve_of_miou(tmp_path: Path) -> None:
    points = tuple(replace(point, val_miou=None) for point in history().points)
    titles = titles_of(build_page(tmp_path, replace(history(), points=points, validated_on=None), None))
    assert "Training loss" in titles
    assert not [title for title in titles if title.startswith("mIoU")]


def test_damaged_counts_are_an_error(tmp_path: Path) -> None:
    history().write(tmp_path)
    evaluation(tmp_path).write(tmp_path)
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "score": {"frames": 1}}))
    with pytest.raises(ErfnetError, match="damaged"):
        write_report(tmp_path)


def test_history_and_evaluation_survive_their_files(tmp_path: Path) -> None:
    assert Evaluation.read(tmp_path) is None
    history().write(tmp_path)
    evaluation(tmp_path).write(tmp_path)
    assert History.read(tmp_path) == history()
    assert encode(Evaluation.read(tmp_path)) == encode(evaluation(tmp_path))
    with pytest.raises(ValueError, match="Out of range float"):
        replace(history(), seconds=float("nan")).write(tmp_path)
    assert History.read(tmp_path) == history()


def test_a_history_that_is_missing_or_damaged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"Expected a finished training run with .*history.json"):
        History.read(tmp_path)
    (tmp_path / "history.json").write_text('{"steps": 1}')
    with pytest.raises(ParameterError, match=r"Expected the key .data. in .*history.json, got only steps"):
        History.read(tmp_path)
    (tmp_path / "history.json").write_text("{")
    with pytest.raises(SourceError, match=r"Expected JSON in .*history.json"):
        History.read(tmp_path)
