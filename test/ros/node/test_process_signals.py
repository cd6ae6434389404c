"""SIGINT and SIGTERM end the node soon, quietly and with exit code 0, whatever it is doing."""

from __future__ import annotations

import time
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from lifecycle_msgs.msg import Transition, TransitionEvent
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import Image
from support.live_node import NodeProcess, client_of, image_message, running_node

# Large, so that nearly all of the node's time is spent in a frame.
FRAME = image_message(np.full((1080, 1920, 3), 90, np.uint8))


def check_end(node: NodeProcess, *signals: Signals, gap_s: float = 0.0) -> None:
    """Send the signals, and check how the node ends and what it writes about it."""
    start_s = time.monotonic()
    for index, number in enumerate(signals):
        time.sleep(gap_s if index else 0)
        node.process.send_signal(number)
    assert node.process.wait(timeout=20) == 0
    assert time.monotonic() - start_s < 3.0
    log = node.log()
    assert log.count(f"Stopping on {signals[0].name}.") == 1
    assert "Traceback" not in log
    assert "nternal error" not in log


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_during_imports(number: Signals) -> None:
    with running_node() as node:
        maps = Path(f"/proc/{node.process.pid}/maps")
        while "libtorch" not in maps.read_text():
            time.sleep(0.01)
        check_end(node, number)
        assert node.log().count("\n") == 1


def test_while_configuring() -> None:
    """The load of an engine may take minutes, and cannot be interrupted."""
    with running_node({"autostart": False}) as node, client_of(node) as client:
        events = client.listen("segmenter/transition_event", TransitionEvent)
        service = client.create_client(ChangeState, "/segmentation/segmenter/change_state")
        client.wait_for(service.service_is_ready, "the service")
        client.wait_for(lambda: client.count_publishers("/segmentation/segmenter/transition_event"), "its events")
        service.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE)))
        client.wait_for(lambda: [e for e in events if e.goal_state.label == "configuring"], "the transition to begin")
        check_end(node, SIGINT)


def test_in_the_first_frame() -> None:
    with running_node() as node, client_of(node) as client:
        client.reach("active")
        camera = client.camera()
        client.listen("mask", Image)
        client.wait_for(camera.get_subscription_count, "the node's subscription")
        camera.publish(client.stamped(FRAME))
        check_end(node, SIGTERM)


@pytest.mark.parametrize("gap_s", [None, 0.0, 0.02, 0.1, 0.2])
def test_in_a_frame_once_and_twice(gap_s: float | None) -> None:
    """A terminal and ros2 launch both send SIGINT, one shortly after the other."""
    with running_node() as node, client_of(node) as client:
        client.reach("active")
        camera, masks = client.camera(), client.listen("mask", Image)
        client.send(camera, FRAME, masks)
        camera.publish(client.stamped(FRAME))
        signals = (SIGINT,) if gap_s is None else (SIGINT, SIGINT)
        check_end(node, *signals, gap_s=gap_s or 0.0)
