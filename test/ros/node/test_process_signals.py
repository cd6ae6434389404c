"""SIGINT and SIGTERM in each state of the node: exit code 0, soon and quietly."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from lifecycle_msgs.msg import Transition, TransitionEvent
from sensor_msgs.msg import Image, PointCloud2
from support.depth_scene import CONFIDENCE, LABELS, Scene, cloud, gray, running_process, running_projector
from support.live_node import Client, NodeProcess, client_of, image_message, running_node

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
@pytest.mark.parametrize(
    ("running", "library"),
    [(running_node, "libtorch"), (running_process, "_multiarray_umath")],
    ids=["node", "projector"],
)
def test_during_imports(
    running: Callable[[], AbstractContextManager[NodeProcess]], library: str, number: Signals
) -> None:
    with running() as node:
        maps = Path(f"/proc/{node.process.pid}/maps")
        while library not in maps.read_text():
            time.sleep(0.01)
        check_end(node, number)
        assert node.log().count("\n") == 1


def begin(client: Client, transition: int, goal: str) -> None:
    """Ask for a transition and wait until it has begun."""
    events = client.listen("segmenter/transition_event", TransitionEvent)
    client.wait_for(lambda: client.count_publishers("/segmentation/segmenter/transition_event"), "its events")
    client.begin(transition)
    client.wait_for(lambda: any(event.goal_state.label == goal for event in events), "the transition to begin")


def test_while_configuring() -> None:
    """The load of an engine may take minutes, and cannot be interrupted."""
    with running_node({"autostart": False}) as node, client_of(node) as client:
        begin(client, Transition.TRANSITION_CONFIGURE, "configuring")
        check_end(node, SIGINT)


@pytest.mark.parametrize(
    ("transition", "goal", "signals", "gap_s"),
    [
        (Transition.TRANSITION_DEACTIVATE, "deactivating", (SIGINT,), 0.0),
        (Transition.TRANSITION_DEACTIVATE, "deactivating", (SIGTERM, SIGINT), 0.2),
        (Transition.TRANSITION_ACTIVE_SHUTDOWN, "shuttingdown", (SIGTERM,), 0.0),
        (Transition.TRANSITION_ACTIVE_SHUTDOWN, "shuttingdown", (SIGINT, SIGINT), 0.0),
    ],
)
def test_while_a_transition_waits_for_a_frame(
    transition: int, goal: str, signals: tuple[Signals, ...], gap_s: float
) -> None:
    with running_node() as node, client_of(node) as client:
        client.reach("active")
        camera, masks = client.camera(), client.listen("mask", Image)
        client.send(camera, FRAME, masks)
        camera.publish(client.stamped(FRAME))
        begin(client, transition, goal)
        check_end(node, *signals, gap_s=gap_s)


def test_its_shared_memory_is_removed() -> None:
    """Each start would otherwise leave 70 MB of memory in use."""
    before = set(Path("/dev/shm").iterdir())
    with running_node() as node:
        deadline_s = time.monotonic() + 60
        while "Active" not in node.log():
            assert time.monotonic() < deadline_s, node.log()
            time.sleep(0.05)
        maps = Path(f"/proc/{node.process.pid}/maps").read_text()
        # One segment is for all processes of the machine.
        named = re.findall(r"/dev/shm/fast(?:dds|rtps)_[0-9a-f]{16}$", maps, re.MULTILINE)
        own = {Path(path) for path in named} - before
        check_end(node, SIGINT)
        assert own
        assert {path for path in own if path.exists()} == set()


class BuildingNode(NodeProcess):
    """The node, in whose process a daemon thread builds engines with TensorRT, one after the other."""

    code = """
import threading
from pathlib import Path

from erfnet_ros.ros.node.__main__ import main

def build():
    import torch

    from erfnet_ros.inference.build_cache import Cache
    from erfnet_ros.inference.tensorrt.api import find_backend
    from erfnet_ros.inference.tensorrt.build import Request, build_engine
    from erfnet_ros.models import checkpoint

    weights, backend, cache = checkpoint.load(), find_backend(), Cache(Path("{cache}"))
    for height in range(480, 2000, 16):
        request = Request(
            checkpoint=weights, camera=(640, height), backend=backend, cache=cache, device=torch.device("cpu")
        )
        build_engine(request, lambda done: print("building", flush=True))

threading.Thread(target=build, daemon=True).start()
main()
"""

    def __init__(self, cache: Path) -> None:
        command = [sys.executable, "-c", self.code.replace("{cache}", str(cache)), "--ros-args", "-p", "device:=cpu"]
        self._start(command, {})


@pytest.mark.parametrize("signals", [(SIGINT,), (SIGTERM, SIGTERM)])
def test_while_tensorrt_builds(signals: tuple[Signals, ...], tmp_path: Path) -> None:
    """At the interpreter's end a callback of the builder aborted the process."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install tensorrt-rtx")
    node = BuildingNode(tmp_path)
    try:
        with client_of(node) as client:
            client.reach("active")
            steps = node.log().count("building")
            client.wait_for(lambda: node.log().count("building") > steps, "a step of a build")
        check_end(node, *signals)
        assert not [path for path in tmp_path.iterdir() if ".partial" in path.name]
    finally:
        node.stop()


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


@pytest.mark.parametrize("signals", [(SIGINT,), (SIGTERM,), (SIGINT, SIGINT)])
def test_the_projector_while_it_publishes_clouds(signals: tuple[Signals, ...]) -> None:
    with running_projector() as (projector, client):
        scene = Scene(client, mask=gray(LABELS), confidence=gray(CONFIDENCE), depth=cloud())
        scene.first_cloud(client.listen("points", PointCloud2))
        check_end(projector, *signals, gap_s=0.02)
