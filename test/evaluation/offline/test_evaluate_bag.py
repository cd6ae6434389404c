"""Offline evaluation of bags, compared with a plain loop over their frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from support.bag_samples import STORE
from support.evaluation_samples import (
    FRAMES,
    PERIOD_NS,
    SETTINGS,
    SIZE,
    START_NS,
    changed,
    combined,
    evaluated,
    scene,
    shots,
    work,
    write_bag,
)

from erfnet_ros.core.array_types import VOID
from erfnet_ros.core.class_set import CAMVID, CITYSCAPES
from erfnet_ros.core.errors import EvaluationError
from erfnet_ros.data.bags.message_types import IMAGE
from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.evaluation.metrics.confusion_matrix import confusion_matrix, mean_iou
from erfnet_ros.evaluation.offline.job import run_job
from erfnet_ros.evaluation.results.frame_records import ANSWERED, REJECTED
from erfnet_ros.evaluation.results.result import Result
from erfnet_ros.inference.segmenter import Segmenter


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(None, engine=SETTINGS.engine, precision=SETTINGS.precision, input_size=SIZE)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """The scene as it is, evaluated."""
    folder = tmp_path_factory.mktemp("plain")
    return evaluated(write_bag(folder / "bag", shots()), folder / "out")


def direct_miou(segmenter: Segmenter, places: range | list[int]) -> float:
    """Return the mIoU of the scene's frames by a plain loop without any bag."""
    pairs = [scene()[place] for place in places]
    total = sum(confusion_matrix(ground_truth, segmenter(rgb).labels, len(CAMVID)) for rgb, ground_truth in pairs)
    miou = mean_iou(np.asarray(total))
    assert miou is not None
    return miou


def test_the_miou_of_a_bag_is_that_of_a_plain_loop_over_its_frames(plain: Result, segmenter: Segmenter) -> None:
    """Else the report speaks of another network than the one that was trained."""
    assert plain.miou == direct_miou(segmenter, range(FRAMES))
    assert plain.miou > 0.2, "the scene must be one that the weights know, or nothing could get worse"
    assert plain.frames.images == plain.frames.answered == plain.frames.scored == FRAMES
    assert plain.notes == ()


def test_each_frame_has_its_own_figures(plain: Result, segmenter: Segmenter) -> None:
    record = plain.records[5]
    rgb, ground_truth = scene()[5]
    said, before = segmenter(rgb), segmenter(scene()[4][0]).labels
    own = mean_iou(confusion_matrix(ground_truth, said.labels, len(CAMVID)))
    assert (record.index, record.outcome, record.stamp_ns) == (5, ANSWERED, shots()[5].stamp_ns)
    assert record.miou == pytest.approx(own, abs=1e-6)
    assert record.confidence == pytest.approx(said.confidence.mean() / 255, abs=1e-6)
    assert record.changed == pytest.approx(float((said.labels != before).mean()), abs=1e-6)


@pytest.mark.parametrize(("storage", "compressed"), [("sqlite3", False), ("mcap", True)])
def test_how_the_bag_is_stored_changes_no_figure(tmp_path: Path, plain: Result, storage: str, compressed: bool) -> None:
    bag = write_bag(tmp_path / "bag", shots(), storage, compressed)
    result = evaluated(bag, tmp_path / "out")
    assert result.score == plain.score
    assert result.records == plain.records


def test_labels_shifted_by_one_class_ruin_the_score(tmp_path: Path, plain: Result) -> None:
    """An off-by-one in the ids, the commonest mistake with labels, must be seen."""
    shifted = changed(
        lambda _, shot: {
            "ground_truth": np.where(shot.ground_truth == VOID, VOID, (shot.ground_truth + 1) % 11).astype("u1")
        }
    )
    result = evaluated(write_bag(tmp_path / "bag", shifted), tmp_path / "out")
    assert result.miou is not None
    assert plain.miou is not None
    assert result.miou < plain.miou / 3


def test_ground_truth_that_is_one_frame_late_scores_another_frame(tmp_path: Path, plain: Result) -> None:
    late = changed(lambda _, shot: {"ground_truth_stamp_ns": shot.ground_truth_stamp_ns + PERIOD_NS})
    result = evaluated(write_bag(tmp_path / "bag", late), tmp_path / "out")
    assert (result.frames.scored, result.frames.unmatched_ground_truths, result.frames.unmatched_images) == (
        FRAMES - 1,
        1,
        1,
    )
    assert result.score != plain.score
    assert any("1 of 12 ground-truth images belong to no image" in note for note in result.notes)


def test_stamps_within_the_tolerance_belong_together_and_beyond_it_do_not(tmp_path: Path, plain: Result) -> None:
    near = write_bag(tmp_path / "near", changed(lambda _, shot: {"ground_truth_stamp_ns": shot.stamp_ns + 5_000_000}))
    assert evaluated(near, tmp_path / "out").score == plain.score
    far = write_bag(tmp_path / "far", changed(lambda _, shot: {"ground_truth_stamp_ns": shot.stamp_ns + 5_000_001}))
    with pytest.raises(EvaluationError, match=r"within 0.005 s .* got none of 12: the nearest is 0.005000 s away"):
        evaluated(far, tmp_path / "out")
    assert evaluated(far, tmp_path / "out", tolerance_s=0.006).score == plain.score


def test_images_that_are_missing_leave_their_ground_truth_unmatched(tmp_path: Path, segmenter: Segmenter) -> None:
    """A third of the images lost by the recorder: the score is that of the rest, and the loss is counted."""
    kept = [index for index in range(FRAMES) if index % 3]
    thinned = changed(lambda index, shot: {"rgb": shot.rgb if index % 3 else None})
    result = evaluated(write_bag(tmp_path / "bag", thinned), tmp_path / "out")
    assert result.miou == direct_miou(segmenter, kept)
    assert (result.frames.images, result.frames.ground_truths, result.frames.unmatched_ground_truths) == (8, 12, 4)


def test_an_unreadable_image_is_counted_and_the_rest_goes_on(tmp_path: Path, segmenter: Segmenter) -> None:
    broken = changed(lambda index, _: {"broken": index == 4})
    result = evaluated(write_bag(tmp_path / "bag", broken), tmp_path / "out")
    assert result.miou == direct_miou(segmenter, [index for index in range(FRAMES) if index != 4])
    assert (result.frames.rejected, result.frames.answered) == (1, FRAMES - 1)
    assert result.records[4].outcome == REJECTED
    assert "bytes of data" in str(result.records[4].reason)
    assert any("1 of 12 images could not be read, the first being image 4" in note for note in result.notes)


def test_a_bag_of_unreadable_images_only_is_refused(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", changed(lambda _, __: {"broken": True}))
    with pytest.raises(EvaluationError, match=r"got 12 that cannot; the first: Expected .* bytes of data"):
        evaluated(bag, tmp_path / "out")


def test_ground_truth_of_another_size_is_left_out_and_told(tmp_path: Path, segmenter: Segmenter) -> None:
    small = changed(lambda index, shot: {"ground_truth": shot.ground_truth[:-2] if index == 3 else shot.ground_truth})
    result = evaluated(write_bag(tmp_path / "bag", small), tmp_path / "out")
    assert result.miou == direct_miou(segmenter, [index for index in range(FRAMES) if index != 3])
    assert (result.frames.refused_ground_truths, result.frames.scored, result.frames.answered) == (
        1,
        FRAMES - 1,
        FRAMES,
    )
    assert any("1 ground-truth images cannot be used" in note and "got 96x70" in note for note in result.notes)


def test_ground_truth_of_unknown_ids_is_left_out_and_told(tmp_path: Path) -> None:
    """Ids of another class set must not be scored as if they were ours."""

    def stray(index: int, shot: object) -> dict[str, object]:
        ground_truth = scene()[index][1].copy()
        ground_truth[0, 0] = 77
        return {"ground_truth": ground_truth} if index == 0 else {}

    result = evaluated(write_bag(tmp_path / "bag", changed(stray)), tmp_path / "out")
    assert (result.frames.refused_ground_truths, result.frames.scored) == (1, FRAMES - 1)
    assert any("got 77" in note for note in result.notes)


def test_a_bag_of_which_no_ground_truth_fits_is_refused(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", changed(lambda _, shot: {"ground_truth": shot.ground_truth[:-2]}))
    with pytest.raises(
        EvaluationError, match=r"ground truth that can be used for 'bag', got none of 12 that match.*96x70"
    ):
        evaluated(bag, tmp_path / "out")


def test_ground_truth_whose_label_info_names_other_classes_is_refused(tmp_path: Path) -> None:
    """The same ids in another order would give a number that looks like one."""
    bag = write_bag(tmp_path / "bag", shots(), classes=CITYSCAPES)
    with pytest.raises(EvaluationError, match="got 'road' for 'sky' as id 0 in '/camera/label_info'"):
        evaluated(bag, tmp_path / "out")
    same = write_bag(tmp_path / "same", shots(), classes=CAMVID)
    assert evaluated(same, tmp_path / "out").frames.scored == FRAMES


def test_stamps_of_zero_give_way_to_the_time_of_the_bag(tmp_path: Path, plain: Result) -> None:
    bag = write_bag(tmp_path / "bag", changed(lambda _, __: {"stamp_ns": 0, "ground_truth_stamp_ns": 0}))
    result = evaluated(bag, tmp_path / "out")
    assert result.score == plain.score
    assert [record.stamp_ns for record in result.records] == [record.stamp_ns for record in plain.records]
    assert any("All stamps of the 12 images are zero" in note for note in result.notes)


def test_stamps_out_of_order_are_told_and_still_matched(tmp_path: Path, plain: Result) -> None:
    """The bag's own time orders the frames; their stamps say which ground truth is theirs."""

    def swap(index: int, shot: object) -> dict[str, object]:
        other = shots()[{3: 4, 4: 3}.get(index, index)]
        return {"stamp_ns": other.stamp_ns, "rgb": other.rgb}

    result = evaluated(write_bag(tmp_path / "bag", changed(swap)), tmp_path / "out")
    assert result.score == plain.score
    assert any("1 of 12 images are stamped earlier than the one before" in note for note in result.notes)


def test_without_ground_truth_there_is_no_accuracy_but_all_the_rest(tmp_path: Path, plain: Result) -> None:
    bag = write_bag(tmp_path / "bag", changed(lambda _, __: {"ground_truth": None}))
    result = evaluated(bag, tmp_path / "out")
    assert result.miou is None
    assert result.to_dict()["miou"] is None
    assert result.temporal_consistency == plain.temporal_consistency
    assert any("There is no ground truth" in note for note in result.notes)


def test_pixels_below_the_threshold_are_void_and_count_against_their_class(tmp_path: Path, plain: Result) -> None:
    bag = write_bag(tmp_path / "bag", shots())
    result = evaluated(bag, tmp_path / "out", threshold=0.9)
    assert result.score is not None
    assert plain.score is not None
    assert plain.score.matrix[:, -1].sum() == 0
    assert result.score.matrix[:, -1].sum() > 0


def test_ground_truth_from_a_folder_is_ground_truth_from_a_topic(tmp_path: Path, plain: Result) -> None:
    bag = write_bag(tmp_path / "bag", changed(lambda _, __: {"ground_truth": None}))
    by_index, by_stamp, by_order = (tmp_path / name for name in ("index", "stamp", "order"))
    for folder in (by_index, by_stamp, by_order):
        folder.mkdir()
    for index, shot in enumerate(shots()):
        cv2.imwrite(str(by_index / f"{index:06d}.png"), shot.ground_truth)
        cv2.imwrite(str(by_stamp / f"{shot.stamp_ns + 1_000_000}.png"), shot.ground_truth)
        cv2.imwrite(str(by_order / f"scene_a{index}.png"), shot.ground_truth)
    for folder, how in ((by_index, "image indexes"), (by_stamp, "stamps"), (by_order, "order")):
        result = evaluated(bag, tmp_path / "out", ground_truth_dir=folder)
        assert result.score == plain.score, how
        assert any(how in note for note in result.notes)


def test_the_pictures_are_the_best_the_worst_and_the_most_uncertain_frames(tmp_path: Path) -> None:
    result = evaluated(write_bag(tmp_path / "bag", shots()), tmp_path / "out")
    by_miou = sorted(result.records, key=lambda record: record.miou or 0.0)
    by_confidence = sorted(result.records, key=lambda record: record.confidence or 0.0)
    first = {
        kind: next(picture for picture in result.pictures if picture.kind == kind)
        for kind in ("best", "worst", "uncertain")
    }
    assert first["best"].index == by_miou[-1].index
    assert first["worst"].index == by_miou[0].index
    assert first["uncertain"].index == by_confidence[0].index
    for picture in result.pictures:
        strip = cv2.imread(str(tmp_path / "out" / picture.file))
        assert strip is not None
        assert strip.shape[1] == 4 * 400 + 3 * 10


def test_two_bags_add_up_to_one_report(tmp_path: Path, segmenter: Segmenter) -> None:
    halves = [write_bag(tmp_path / name, part) for name, part in (("a", shots()[:5]), ("b", shots()[5:]))]
    outcomes = [run_job(work(bag, tmp_path / "out")) for bag in halves]
    result = combined(outcomes, tmp_path / "out")
    assert result.miou == direct_miou(segmenter, range(FRAMES))
    assert [bag.name for bag in result.bags] == ["a", "b"]
    assert [(record.bag, record.index) for record in result.records] == [
        *((0, index) for index in range(5)),
        *((1, index) for index in range(7)),
    ]
    # Nothing flickers from the last frame of a bag to the first of another.
    assert result.temporal_consistency.pairs == FRAMES - 2


def test_what_is_unusual_about_a_bag_stands_in_the_notes(tmp_path: Path) -> None:
    with (
        BagReader(write_bag(tmp_path / "plain", shots()[:2])) as reader,
        Writer(tmp_path / "odd", version=8, storage_plugin=StoragePlugin.MCAP) as writer,
    ):
        status = writer.add_connection("/status", IMAGE, typestore=STORE, serialization_format="json")
        writer.write(status, START_NS, b"{}")
        topics = {
            name: writer.add_connection(name, topic.type, typestore=STORE) for name, topic in reader.topics.items()
        }
        for message in reader.messages():
            writer.write(topics[message.topic], message.time_ns, message.data)
    note = "'/status' is skipped: its messages are json, not cdr."
    assert note in evaluated(tmp_path / "odd", tmp_path / "out").notes
