"""The running node has a status for each condition, whose level rises while it lasts and falls once it is gone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("erfnet_ros.msg", reason="needs the built workspace (make build)")

from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image
from support.live_node import client_of, image_message, running_node

from erfnet_ros.ros import diagnostic_keys as keys

OK, WARN, ERROR = b"\x00", b"\x01", b"\x02"
FRAME = image_message(np.full((48, 64, 3), 90, np.uint8))


def test_a_camera_is_missed_found_and_its_stamps_are_read() -> None:
    parameters = {"device": "cpu", "input_size": "64x48"}
    with running_node(parameters, {"image": "/camera/image"}) as node, client_of(node) as client:

        def level(condition: str, wanted: bytes) -> Any:
            name = f"/segmentation/segmenter: segmentation: {condition}"
            return client.diagnosis(lambda s: s.name == name and s.level == wanted, f"{condition} at {wanted!r}")

        client.reach("active")
        raw = client.camera("/camera/image_raw")
        told = "Nobody publishes /camera/image; /camera/image_raw has 1 publisher(s); start the camera, or remap image"
        assert level(keys.NO_PUBLISHER, WARN).message.startswith(told)
        masks = client.listen("mask", Image)
        level(keys.NO_PUBLISHER, ERROR)
        whole = client.diagnosis(lambda s: s.name.endswith(keys.STATUS_NAME), "the node's status")
        assert whole.level == ERROR
        assert whole.message.startswith(told)
        assert node.log().count("Nobody publishes") == 2
        client.destroy_publisher(raw)

        camera = client.camera("/camera/image")
        client.send(camera, FRAME, masks)
        timer = client.create_timer(0.1, lambda: camera.publish(FRAME))
        assert level(keys.NO_PUBLISHER, OK).message == "ok"
        figures = {
            value.key: value.value
            for value in client.diagnosis(lambda s: s.name.endswith(keys.STATUS_NAME), "figures").values
        }
        assert all(float(figures[key]) > 0 for key in (keys.INFERENCE_MS, keys.MEMORY_MB, keys.MEAN_CONFIDENCE))
        assert float(figures[keys.STAMP_AGE_S]) > 1e9, "stamps of a test are of 1970"
        assert keys.GPU_FREE_MB not in figures

        assert "s old when they arrive: synchronize" in level(keys.STAMP_AGE, WARN).message
        FRAME.header.stamp = Time()
        assert "stamp them with the time of capture" in level(keys.ZERO_STAMPS, WARN).message
        level(keys.STAMP_JUMPS, WARN)
        client.destroy_timer(timer)
        level(keys.SILENCE, WARN)
        level(keys.SILENCE, ERROR)
