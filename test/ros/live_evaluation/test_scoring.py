"""Scores of a live run, for masks that arrived at known times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from erfnet_ros.core.array_types import Pixels

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("erfnet_ros.msg", reason="needs the built workspace (make build)")

from support.evaluation_samples import FRAMES, PERIOD_NS, PROVENANCE, SETTINGS, changed, scene, shots, write_bag

from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.errors import EvaluationError
from erfnet_ros.data.bags import messages
from erfnet_ros.data.bags.message_types import IMAGE, known_types
from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.evaluation.inputs.bag_scan import BagScan, scan_bag
from erfnet_ros.evaluation.metadata import Usage
from erfnet_ros.evaluation.results.frame_records import ANSWERED, DROPPED, REJECTED
from erfnet_ros.evaluation.results.provenance import EngineMetadata
from erfnet_ros.evaluation.results.result import Result
from erfnet_ros.ros.harness.message_store import MessageStore
from erfnet_ros.ros.harness.output_recorder import NodeCounts
from erfnet_ros.ros.harness.playback import Sent
from erfnet_ros.ros.live_evaluation.drop_reasons import SKIPPED
from erfnet_ros.ros.live_evaluation.replay_run import NODE_STAGES, Recording
from erfnet_ros.ros.live_evaluation.result import live_result
from erfnet_ros.ros.live_evaluation.scoring import LiveScore, score_recording

MS = 1_000_000
BEGIN_NS = 1_800_000_000_000_000_000
STORE = known_types()


def ground_truth(index: int) -> Pixels:
    return scene()[index][1]


def serialized(pixels: Pixels) -> bytes:
    message = messages.image(pixels, "mono8", messages.header(0, "camera"))
    return bytes(STORE.serialize_cdr(message, IMAGE))


def recording(late_ms: Mapping[int, float]) -> Recording:
    """Return what a node would leave behind that answers these images so late, and passes over all others."""
    sent = tuple(Sent(index, 0, BEGIN_NS + index * PERIOD_NS, 0.25) for index in range(FRAMES))
    arrived = {index: sent[index].published_ns + round(late * MS) for index, late in late_ms.items()}
    reports, dropped = {}, 0
    for index in range(FRAMES):
        if index in late_ms:
            reports[index] = NodeCounts(len(reports) + 1, dropped, 0)
        else:
            dropped += 1
    return Recording(
        sent=sent,
        arrived_ns=arrived,
        taken_ms=(0.5,) * len(arrived),
        reports=reports,
        stages_ms={stage: (10.0,) * len(arrived) for stage in NODE_STAGES},
        counts=NodeCounts(len(reports), dropped, 0),
        broken={},
        mismatched=0,
        class_names=CAMVID.names,
        diagnostics={},
        last_error="",
        playing_s=1.2,
        usage=Usage(50.0, 400.0, 300.0),
        harness_percent=5.0,
    )


@pytest.fixture
def found(tmp_path: Path) -> BagScan:
    with BagReader(write_bag(tmp_path / "bag", shots())) as reader:
        return scan_bag(reader, SETTINGS, CAMVID)


def score(
    found: BagScan,
    record: Recording,
    folder: Path,
    mask: Callable[[int], Pixels] = ground_truth,
    lost: tuple[int, ...] = (),
) -> LiveScore:
    """Score masks that hold what `mask` says; the confidences of `lost` images did not come."""
    with MessageStore(folder / f"store{len(list(folder.iterdir()))}") as store:
        for index in record.arrived_ns:
            store.put("mask", index, serialized(mask(index)))
            if index not in lost:
                store.put("confidence", index, serialized(np.full(ground_truth(index).shape, 200, np.uint8)))
        return score_recording(
            found,
            settings=SETTINGS,
            class_set=CAMVID,
            recording=record,
            store=store,
            output=None,
            advance=lambda done: None,
        )


def result(*scores: LiveScore, folder: Path) -> Result:
    engine = EngineMetadata("pytorch", "fp32", "cpu", "ab" * 32, ())
    return live_result(scores, engine=engine, source=replace(PROVENANCE, rate=1.0), folder=folder)


def streaming(scored: LiveScore) -> float:
    assert scored.streaming is not None
    miou = scored.streaming.statistics().miou
    assert miou is not None
    return miou


def test_the_true_labels_score_one_and_lateness_costs_the_more_the_later(found: BagScan, tmp_path: Path) -> None:
    """At each image's moment the mask of an earlier one is all that there can be."""
    values = []
    for late_ms in (50.0, 150.0, 450.0):
        scored = score(found, recording(dict.fromkeys(range(FRAMES), late_ms)), tmp_path)
        assert scored.accumulator.score.statistics().miou == 1.0
        assert scored.latencies_ms == (late_ms,) * FRAMES
        values.append(streaming(scored))
    assert 1.0 > values[0] > values[1] > values[2]


def test_labels_shifted_by_one_class_score_nothing(found: BagScan, tmp_path: Path) -> None:
    def shifted(index: int) -> Pixels:
        labels = ground_truth(index)
        return np.where(labels == 255, labels, (labels + 1) % len(CAMVID)).astype(np.uint8)

    scored = score(found, recording(dict.fromkeys(range(FRAMES), 50.0)), tmp_path, shifted)
    assert scored.accumulator.score.statistics().miou == 0.0


def test_dropping_a_third_costs_streaming_accuracy_alone(found: BagScan, tmp_path: Path) -> None:
    whole = score(found, recording(dict.fromkeys(range(FRAMES), 50.0)), tmp_path)
    some = score(found, recording({index: 50.0 for index in range(FRAMES) if index % 3 != 1}), tmp_path)
    assert some.accumulator.score.statistics().miou == 1.0
    assert streaming(some) < streaming(whole)
    assert some.streaming is not None
    assert some.streaming.frames == FRAMES
    told = result(some, folder=tmp_path)
    assert (told.frames.images, told.frames.answered, told.frames.dropped) == (12, 8, 4)
    assert told.dropped == 4 / 12
    assert [record.outcome for record in told.records[:3]] == [ANSWERED, DROPPED, ANSWERED]
    assert told.records[1].reason == SKIPPED
    assert any("Of 12 images 4 were dropped: 4 because a newer image came" in note for note in told.notes)


def test_age_is_that_of_the_newest_mask_at_each_publication(found: BagScan, tmp_path: Path) -> None:
    """Images every 100 ms, answered after 150 ms: at each moment the mask of two images before is the newest."""
    scored = score(found, recording(dict.fromkeys(range(FRAMES), 150.0)), tmp_path)
    assert scored.ages_ms == (200.0,) * (FRAMES - 2)


def test_figures_of_several_bags_are_joined(found: BagScan, tmp_path: Path) -> None:
    steady = score(found, recording(dict.fromkeys(range(FRAMES), 50.0)), tmp_path)
    uneven = score(found, recording({index: 50.0 + 20 * (index % 2) for index in range(FRAMES)}), tmp_path)
    told = result(steady, uneven, folder=tmp_path)
    assert told.latency_ms is not None
    assert (told.latency_ms.p50, told.latency_ms.max) == (50.0, 70.0)
    # 11 steps of 0 ms and 11 of 20 ms; that from one bag to the next is none.
    assert told.jitter_ms == pytest.approx(10.0)
    assert told.fps == pytest.approx(2 * FRAMES / 2.4)
    assert told.usage == Usage(50.0, 400.0, 300.0)
    assert told.stages_ms["node"].p50 == 10.0
    assert told.stages_ms["harness"].p50 == 0.25
    assert any("at most the player's call of publish, 0.25 ms of processor time" in note for note in told.methods)
    assert {record.bag for record in told.records} == {0, 1}


def test_a_mask_without_its_confidence_counts_as_lost(found: BagScan, tmp_path: Path) -> None:
    """Scored without it, the calibration would be that of other images than the accuracy."""
    told = result(score(found, recording(dict.fromkeys(range(FRAMES), 50.0)), tmp_path, lost=(4,)), folder=tmp_path)
    assert (told.frames.answered, told.frames.dropped) == (11, 1)
    assert told.records[4].reason == "its mask was lost on the way back"


def test_an_image_that_could_not_be_played_is_rejected_with_the_reason(found: BagScan, tmp_path: Path) -> None:
    played = recording(dict.fromkeys(range(1, FRAMES), 50.0))
    played = replace(played, sent=played.sent[1:], broken={0: "50 bytes of no image"})
    told = result(score(found, played, tmp_path), folder=tmp_path)
    assert (told.records[0].outcome, told.records[0].reason) == (REJECTED, "not played: 50 bytes of no image")
    assert told.frames.images == FRAMES


def test_what_does_not_fit_is_said(found: BagScan, tmp_path: Path) -> None:
    played = recording(dict.fromkeys(range(FRAMES), 50.0))
    slow = tuple(replace(sent, published_ns=BEGIN_NS + 3 * index * PERIOD_NS) for index, sent in enumerate(played.sent))
    odd = replace(
        played,
        sent=slow,
        arrived_ns={sent.index: sent.published_ns + MS for sent in slow},
        mismatched=2,
        counts=NodeCounts(FRAMES, 0, 5),
        taken_ms=(),
        usage=None,
    )
    told = result(score(found, odd, tmp_path), folder=tmp_path)
    notes = " ".join(told.notes)
    assert "2 outputs of the node belonged to no image" in notes
    assert "The replay took 3.3 s instead of 1.1 s" in notes
    assert "does another program send it images?" in notes
    assert "the middleware gives no time of receipt" in told.methods[0]
    assert "its process was not found" in notes


def test_ground_truth_of_another_size_is_refused_and_a_bag_with_no_other_as_well(tmp_path: Path) -> None:
    small = np.zeros((36, 48), np.uint8)
    for name, places in (("some", (3,)), ("all", range(FRAMES))):
        content = changed(
            lambda index, shot, places=places: {"ground_truth": small if index in places else shot.ground_truth}
        )
        with BagReader(write_bag(tmp_path / name, content)) as reader:
            found = scan_bag(reader, SETTINGS, CAMVID)
        if name == "all":
            with pytest.raises(EvaluationError, match="Expected ground truth of the image's size, 96x72, got 48x36"):
                score(found, recording(dict.fromkeys(range(FRAMES), 50.0)), tmp_path)
        else:
            told = result(score(found, recording(dict.fromkeys(range(FRAMES), 50.0)), tmp_path), folder=tmp_path)
            assert (told.frames.scored, told.frames.refused_ground_truths) == (FRAMES - 1, 1)
            assert told.streaming_statistics is not None
            assert told.streaming_statistics.frames == FRAMES - 1
