"""Output bag: the original's messages and the network's masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.evaluation_samples import FRAMES, IMAGE_TOPIC, SETTINGS, SIZE, changed, scene, shots, work, write_bag

from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.errors import EvaluationError
from erfnet_ros.core.image import to_array
from erfnet_ros.data.bags.reader import BagReader, Message
from erfnet_ros.evaluation.offline.job import run_job
from erfnet_ros.evaluation.offline.output_bag import OutputPlan
from erfnet_ros.inference.segmenter import Segmenter
from erfnet_ros.visualization.overlay import blend

THRESHOLD = 0.6


def written(bag: Path, out: Path, storage: str = "mcap") -> Path:
    """Evaluate a bag with an output bag; return that."""
    plan = OutputPlan(out / "bags" / "bag", storage)
    run_job(replace(work(bag, out, threshold=THRESHOLD), output=plan))
    return plan.path


def messages(bag: Path) -> dict[str, list[Message]]:
    with BagReader(bag) as reader:
        assert reader.faults == ()
        found: dict[str, list[Message]] = {topic: [] for topic in reader.topics}
        for message in reader.messages():
            found[message.topic].append(message)
    return found


def decoded(bag: Path, topic: str) -> list[Any]:
    with BagReader(bag) as reader:
        return [reader.decode(message) for message in reader.messages([topic])]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_the_original_is_passed_through_byte_for_byte_and_the_masks_stand_beside_it(
    tmp_path: Path, storage: str
) -> None:
    bag = write_bag(tmp_path / "bag", shots(), classes=CAMVID)
    out = written(bag, tmp_path / "out", storage)
    before, after = messages(bag), messages(out)
    assert set(after) - set(before) == {
        f"/segmentation/{name}" for name in ("mask", "confidence", "overlay", "label_info")
    }
    for topic, original in before.items():
        assert after[topic] == original

    segmenter = Segmenter(None, engine=SETTINGS.engine, precision=SETTINGS.precision, input_size=SIZE)
    masks, confidences, overlays = (decoded(out, f"/segmentation/{name}") for name in ("mask", "confidence", "overlay"))
    images = decoded(out, IMAGE_TOPIC)
    assert len(masks) == len(confidences) == len(overlays) == FRAMES
    for index, (rgb, _) in enumerate(scene()):
        said = segmenter(rgb)
        mask = said.mask(THRESHOLD)
        np.testing.assert_array_equal(to_array(masks[index])[..., 0], mask)
        np.testing.assert_array_equal(to_array(confidences[index])[..., 0], said.confidence)
        np.testing.assert_array_equal(to_array(overlays[index]), blend(rgb, mask, CAMVID.palette(), 0.5))
        headers = [repr(part[index].header) for part in (masks, confidences, overlays, images)]
        assert len(set(headers)) == 1
        assert "frame_id='camera'" in headers[0]
        assert after["/segmentation/mask"][index].time_ns == before[IMAGE_TOPIC][index].time_ns


def test_label_info_says_what_the_mask_means_and_waits_for_late_subscribers(tmp_path: Path) -> None:
    out = written(write_bag(tmp_path / "bag", shots()), tmp_path / "out")
    (info,) = decoded(out, "/segmentation/label_info")
    assert [(entry.class_id, entry.class_name) for entry in info.class_map] == [*enumerate(CAMVID.names)]
    assert info.threshold == pytest.approx(THRESHOLD)
    with BagReader(out) as reader:
        (declaration,) = (entry for entry in reader.declarations if entry.topic == "/segmentation/label_info")
    assert "VisionClass[] class_map" in declaration.definition
    assert declaration.qos[0].durability.name == "TRANSIENT_LOCAL"


def test_an_unreadable_image_stays_in_the_bag_without_a_mask(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", changed(lambda index, _: {"broken": index == 4}))
    after = messages(written(bag, tmp_path / "out"))
    assert (len(after[IMAGE_TOPIC]), len(after["/segmentation/mask"])) == (FRAMES, FRAMES - 1)


def test_a_bag_that_has_such_topics_already_is_refused(tmp_path: Path) -> None:
    out = written(write_bag(tmp_path / "bag", shots()), tmp_path / "out")
    with pytest.raises(EvaluationError, match=r"without /segmentation/confidence, .* for --output-bag"):
        written(out, tmp_path / "again")


def test_a_run_that_fails_leaves_no_output_bag(tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise StoppedError

    plan = OutputPlan(tmp_path / "out" / "bags" / "bag", "mcap")
    task = replace(work(write_bag(tmp_path / "bag", shots()), tmp_path / "out"), output=plan)
    with pytest.raises(StoppedError):
        run_job(task, stop)
    assert list(plan.path.parent.iterdir()) == []
    run_job(task)
    assert len(messages(plan.path)["/segmentation/mask"]) == FRAMES
