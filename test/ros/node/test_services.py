"""Services of the node: set_enabled, reset_statistics and save_sample."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("erfnet_ros.msg", reason="needs the built workspace (make build)")

from lifecycle_msgs.msg import Transition
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger
from support.live_node import client_of, image_message, pixels_of, running_node

from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.data.datasets import open_layout
from erfnet_ros.data.datasets.validate import check_dataset


def test_the_services_switch_and_reset_and_say_why_where_they_cannot(tmp_path: Path) -> None:
    parameters = {"autostart": False, "sample_folder": str(tmp_path)}
    with running_node(parameters) as process, client_of(process) as client:

        def enable(on: bool) -> SetBool.Response:
            return client.call(SetBool, "set_enabled", SetBool.Request(data=on))

        def reset() -> Trigger.Response:
            return client.call(Trigger, "reset_statistics", Trigger.Request())

        def check_refusals() -> None:
            answers = [enable(False), reset(), client.call(Trigger, "save_sample", Trigger.Request())]
            assert not any(answer.success for answer in answers)
            assert all("configure" in answer.message for answer in answers)

        check_refusals()
        assert client.change(Transition.TRANSITION_CONFIGURE)
        assert reset().success
        assert not enable(True).success
        assert client.change(Transition.TRANSITION_ACTIVATE)

        camera, masks = client.camera(), client.listen("mask", Image)
        message = image_message(np.zeros((48, 64, 3), np.uint8))
        client.send(camera, message, masks)
        client.diagnosis(lambda status: ("frames_processed", "1") in pairs(status), "a processed frame")
        assert reset().success
        client.diagnosis(lambda status: ("frames_processed", "0") in pairs(status), "a count of zero")

        assert enable(False).success
        client.wait_for(lambda: client.count_subscribers("/camera/image_raw") == 0, "the end of the subscription")
        client.diagnosis(lambda status: ("state", "inactive") in pairs(status), "the state inactive")
        client.spin_for(0.6)
        assert client.count_subscribers("/camera/image_raw") == 0, (
            "the next look at subscribers must not subscribe again"
        )
        assert enable(True).success
        client.send(camera, message, masks)
        assert client.change(Transition.TRANSITION_ACTIVE_SHUTDOWN)
        check_refusals()


def pairs(status: object) -> set[tuple[str, str]]:
    return {(value.key, value.value) for value in status.values}  # type: ignore[attr-defined]


def test_a_saved_sample_is_a_training_image_with_its_mask(tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    with running_node({"sample_folder": str(folder)}) as process, client_of(process) as client:

        def save() -> Trigger.Response:
            return client.call(Trigger, "save_sample", Trigger.Request())

        client.reach("active")
        refused = save()
        assert not refused.success
        assert "No frame was segmented" in refused.message
        camera, masks = client.camera(), client.listen("mask", Image)
        for _ in range(2):
            client.send(camera, image_message(rgb[..., ::-1], "bgr8"), masks)
            assert save().success
        (folder / "classes.yaml").write_text("name: other\nclasses: [{name: a, color: [0, 0, 0]}]\n")
        assert "others; choose another sample_folder" in save().message
    (folder / "classes.yaml").write_text(CAMVID.to_yaml())
    layout = open_layout("folder", folder)
    check = check_dataset(layout)
    assert sum(len(split.usable) for split in check.splits) == 2
    assert not [fault for fault in check.faults if "has no pixel" not in fault and "same picture" not in fault]
    entry = layout.listing("train").entries[0]
    frame = layout.frame(entry)
    np.testing.assert_array_equal(frame.rgb, rgb)
    np.testing.assert_array_equal(frame.ground_truth, pixels_of(masks[0]))
    told = json.loads((folder / "info" / f"{entry.name}.json").read_text())
    assert told["parameters"]["sample_folder"] == str(folder)
    assert told["camera_info"] is None
    assert (folder / "confidence" / f"{entry.name}.png").is_file()
