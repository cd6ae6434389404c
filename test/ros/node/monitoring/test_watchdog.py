"""An engine that does not return never leaves a silent node: the process says so and ends, for a supervisor."""

from __future__ import annotations

import itertools
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("erfnet_ros.msg", reason="needs the built workspace (make build)")

from lifecycle_msgs.msg import Transition
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image
from support.faults import hanging_engine
from support.live_node import Client, NodeProcess, client_of, image_message, running_node

from erfnet_ros.ros.node.monitoring.watchdog import EXIT_CODE, EngineCall, EngineWatchdog

TEST_FOLDER = Path(hanging_engine.__file__).parents[2]


def gray(level: int) -> Image:
    return image_message(np.full((48, 64, 3), level, np.uint8))


def own_segments(process: int) -> list[Path]:
    """Return the locks of a process's shared memory; they exist as long as the memory."""
    links = Path(f"/proc/{process}/fd").iterdir()
    locks = [path for link in links if re.fullmatch("fast(dds|rtps)_[0-9a-f]{16}_el", (path := link.readlink()).name)]
    assert locks
    return locks


@contextmanager
def node_that_answers(timeout_s: float) -> Iterator[tuple[NodeProcess, Client, Publisher, list[Image]]]:
    """Run the node with the engine, and a client whose camera it has answered; `masks` are its answers."""
    parameters = {"engine": "hanging", "device": "cpu", "input_size": "64x48", "engine_timeout": timeout_s}
    path = {"PYTHONPATH": f"{TEST_FOLDER}:{os.environ.get('PYTHONPATH', '')}"}
    with (
        running_node(parameters, environment=path, module="support.faults.hanging_node") as node,
        client_of(node) as client,
    ):
        camera, masks = client.camera(), client.listen("mask", Image)
        client.send(camera, gray(0), masks)
        yield node, client, camera, masks


def test_the_process_says_what_hangs_and_ends_although_a_transition_waits() -> None:
    """The engine's preparation, which takes longer than the limit, does not count."""
    with node_that_answers(4.0) as (node, client, camera, masks):
        client.send(camera, gray(hanging_engine.PREPARE), masks)
        segments = own_segments(node.process.pid)
        camera.publish(client.stamped(gray(hanging_engine.WAIT)))
        client.wait_for(lambda: hanging_engine.HANGS in node.log(), "the hang")
        deactivated = client.begin(Transition.TRANSITION_DEACTIVATE)
        status = client.diagnosis(lambda s: ("state", "hanging") in {(v.key, v.value) for v in s.values}, "the report")
        assert status.level == b"\x02"
        assert re.match("The engine hanging on cpu has not returned for [45] s", status.message)
        assert node.process.wait(timeout=20) == EXIT_CODE == 75
        assert not [path for path in segments if path.exists()]
        assert not deactivated.done()
        log = node.log()
        assert status.message in log
        assert 'hanging_engine.py", line' in log, "where each thread stood"


def test_an_engine_that_keeps_pythons_lock_ends_the_process_as_well() -> None:
    with node_that_answers(3.0) as (node, client, camera, _masks):
        camera.publish(client.stamped(gray(hanging_engine.WAIT_WITH_LOCK)))
        assert node.process.wait(timeout=30) == -signal.SIGALRM
        assert 'hanging_engine.py", line' in node.log()


def test_a_signal_ends_a_node_that_hangs_without_a_limit() -> None:
    with node_that_answers(0.0) as (node, client, camera, _masks):
        camera.publish(client.stamped(gray(hanging_engine.WAIT)))
        client.wait_for(lambda: hanging_engine.HANGS in node.log(), "the hang")
        client.begin(Transition.TRANSITION_ACTIVE_SHUTDOWN)
        client.spin_for(0.3)
        segments = own_segments(node.process.pid)
        start_s = time.monotonic()
        node.process.send_signal(signal.SIGINT)
        assert node.process.wait(timeout=20) == 0
        assert time.monotonic() - start_s < 5
        assert not [path for path in segments if path.exists()]


def test_calls_that_return_in_time_are_no_hang() -> None:
    """Many short calls last longer than the limit together."""
    calls, enough = itertools.count(), threading.Event()

    def running() -> EngineCall:
        number = next(calls)
        if number == 8:
            enough.set()
        return 1, float(number)

    hangs: list[float] = []
    watchdog = EngineWatchdog(0.4, running, hangs.append)
    try:
        assert enough.wait(timeout=30)
    finally:
        watchdog.close()
    assert not hangs
