"""The live view of a real node over real DDS."""

from __future__ import annotations

import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from erfnet_ros.msg import SegmentationStatistics
from sensor_msgs.msg import Image
from support.erfnet_process import ErfnetProcess
from support.live_node import client_of, image_message, running_node

pytest.importorskip("rerun", reason="rerun-sdk is not installed")

RGB = np.random.default_rng(0).integers(0, 256, (72, 96, 3), np.uint8)


def test_a_running_nodes_masks_are_written_until_an_interrupt(
    fast_checkpoint: Path, start_erfnet: Callable[..., ErfnetProcess], tmp_path: Path
) -> None:
    out = tmp_path / "live.rrd"
    with running_node({"checkpoint": str(fast_checkpoint)}) as node, client_of(node) as client:
        view = start_erfnet("view", "--live", "--out", str(out), environment={"ROS_DOMAIN_ID": str(node.domain)})
        camera, statistics = client.camera(), client.listen("statistics", SegmentationStatistics)
        client.wait_for(lambda: client.count_subscribers("/segmentation/mask"), "the viewer's subscription")
        for _ in range(3):
            client.send(camera, image_message(RGB), statistics)
        masks = client.listen("mask", Image)
        client.send(camera, image_message(RGB), masks)
        view.process.send_signal(signal.SIGINT)
        status, output = view.finish()
    assert status == 0, output
    shown = int(output.split(" masks shown")[0].split()[-1])
    assert shown >= 1
    assert out.stat().st_size > 1000


def test_other_classes_than_the_nodes_are_refused(
    fast_checkpoint: Path, start_erfnet: Callable[..., ErfnetProcess]
) -> None:
    with running_node({"checkpoint": str(fast_checkpoint)}) as node, client_of(node) as client:
        arguments = ("view", "--live", "--classes", "cityscapes", "--port", "19090")
        view = start_erfnet(*arguments, environment={"ROS_DOMAIN_ID": str(node.domain)})
        camera, statistics = client.camera(), client.listen("statistics", SegmentationStatistics)
        client.wait_for(lambda: client.count_subscribers("/segmentation/mask"), "the viewer's subscription")
        with urllib.request.urlopen("http://localhost:19090/", timeout=30) as page:
            assert b"rerun" in page.read().lower()
        client.send(camera, image_message(RGB), statistics)
        status, output = view.finish()
    assert status == 2
    assert "Expected the node to have the classes of 'cityscapes', got sky, building" in output
