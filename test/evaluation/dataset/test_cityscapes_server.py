"""Export for the Cityscapes server, compared with the official scripts."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.cityscapes_scores import official_scores
from support.small_datasets import write

from erfnet_ros.core.array_types import VOID, Pixels
from erfnet_ros.core.class_set import CAMVID, CITYSCAPES
from erfnet_ros.core.errors import ClassSetError, SourceError
from erfnet_ros.data.datasets.cityscapes import LABEL_MAP
from erfnet_ros.data.frame_sources import Frame
from erfnet_ros.evaluation.dataset.cityscapes_server import ServerExport
from erfnet_ros.evaluation.metrics.segmentation_score import Score

NAMES = [f"frankfurt_000001_{number:06d}" for number in (2, 40, 900)]


def ground_truth_and_answer(seed: int) -> tuple[Pixels, Pixels]:
    """Label ids of all 34 kinds, and train ids that are right every other time, some of them no answer; no train."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 34, (40, 60), np.uint8)
    ids[ids == 31] = 0
    answer = LABEL_MAP.from_ids(ids)
    guess = rng.integers(0, 16, ids.shape, np.uint8)
    answer = np.where((rng.random(ids.shape) < 0.5) & (answer != VOID), answer, guess)
    answer[rng.random(ids.shape) < 0.05] = VOID
    return ids, answer.astype(np.uint8)


def test_the_official_scripts_give_our_figures(tmp_path: Path) -> None:
    export, score, ground_truth_files = ServerExport(tmp_path / "out", CITYSCAPES), Score(CITYSCAPES), []
    export.check(NAMES)
    for seed, name in enumerate(NAMES):
        ids, answer = ground_truth_and_answer(seed)
        ground_truth_files.append(write(tmp_path / "gtFine" / f"{name}_gtFine_labelIds.png", ids))
        export.write(Frame(name, np.zeros((40, 60, 3), np.uint8), None), answer)
        score.add(LABEL_MAP.from_ids(ids), answer)
    theirs = official_scores(ground_truth_files, tmp_path / "out")
    ours = score.statistics()
    assert ours.absent == {"train": 0}
    for name, iou in ours.iou.items():
        expected = theirs["classScores"][name]
        assert iou == (None if math.isnan(expected) else pytest.approx(expected)), name
    assert ours.category_iou is not None
    for name, iou in ours.category_iou.items():
        assert iou == pytest.approx(theirs["categoryScores"][name]), name
    assert ours.miou == pytest.approx(theirs["averageScoreClasses"])
    assert ours.category_miou == pytest.approx(theirs["averageScoreCategories"])


def test_files_hold_label_ids_and_void_is_unlabeled(tmp_path: Path) -> None:
    export = ServerExport(tmp_path, CITYSCAPES)
    export.write(Frame(NAMES[0], np.zeros((1, 4, 3), np.uint8), None), np.array([[0, 13, 18, VOID]], np.uint8))
    read = cv2.imread(str(tmp_path / f"{NAMES[0]}_labelIds.png"), cv2.IMREAD_UNCHANGED)
    assert read is not None
    assert read.tolist() == [[7, 26, 33, 0]]


def test_other_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ClassSetError, match="the 19 classes of cityscapes to export for its server, got the 11 of 'c"):
        ServerExport(tmp_path / "out", CAMVID)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["frame_0", "train_aachen_000000_000019", "aachen_0_19", "aachen_000000_000019_x"])
def test_a_name_that_the_server_would_not_find_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match=f"CITY_SEQUENCE_FRAME .*, got '{name}'"):
        ServerExport(tmp_path, CITYSCAPES).check([*NAMES, name])


@pytest.mark.parametrize("file", ["{}.png", "{}_overlay.png", "older/{}_labelIds.png"])
def test_a_second_answer_in_the_folder_is_refused(tmp_path: Path, file: str) -> None:
    """The official script would stop at it, after the upload."""
    write(tmp_path / file.format(NAMES[1]), np.zeros((4, 4), np.uint8))
    with pytest.raises(SourceError, match=f"no other PNG file of the same frames .*{NAMES[1]}.*an empty folder"):
        ServerExport(tmp_path, CITYSCAPES).check(NAMES)


def test_an_export_may_be_repeated_into_its_own_folder(tmp_path: Path) -> None:
    write(tmp_path / f"{NAMES[1]}_labelIds.png", np.zeros((4, 4), np.uint8))
    write(tmp_path / "legend.png", np.zeros((4, 4), np.uint8))
    ServerExport(tmp_path, CITYSCAPES).check(NAMES)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match=r"Cannot write to .*file/out: .*; choose another folder"):
        ServerExport(tmp_path / "file" / "out", CITYSCAPES)
