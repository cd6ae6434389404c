"""An operator switches segmentation off without losing the engine, and is told why where that cannot be."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("erfnet_ros.msg", reason="needs the built workspace (make build)")

from lifecycle_msgs.msg import Transition
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger
from support.live_node import client_of, image_message, running_node


def test_the_services_switch_and_reset_and_say_why_where_they_cannot() -> None:
    with running_node({"autostart": False}) as process, client_of(process) as client:

        def enable(on: bool) -> SetBool.Response:
            return client.call(SetBool, "set_enabled", SetBool.Request(data=on))

        def reset() -> Trigger.Response:
            return client.call(Trigger, "reset_statistics", Trigger.Request())

        answers = [enable(False), reset()]
        assert [answer.success for answer in answers] == [False, False]
        assert "configure" in answers[0].message
        assert "configure" in answers[1].message
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


def pairs(status: object) -> set[tuple[str, str]]:
    return {(value.key, value.value) for value in status.values}  # type: ignore[attr-defined]
