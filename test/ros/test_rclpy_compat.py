"""Workarounds for rclpy: threads for callbacks, message info, and messages that wait."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

import rclpy
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.timer import Timer
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from support import humble_node
from support.humble_node import take_subscription
from support.live_node import NodeProcess, client_of, image_message

from erfnet_ros.ros.rclpy_compat import NodeExecutor, SubmitOncePool, take_waiting, with_message_info

DEADLINE_S = 30.0


@pytest.fixture
def node() -> Iterator[Node]:
    context = Context()
    rclpy.init(context=context)
    node = Node("spinner", context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_a_task_that_waits_is_not_queued_again() -> None:
    free, runs = threading.Event(), []
    with SubmitOncePool(1) as pool:
        pool.submit(free.wait, DEADLINE_S)

        def task() -> None:
            runs.append(None)

        for _ in range(5):
            pool.submit(task)
        free.set()
    assert len(runs) == 1


def test_a_task_that_has_begun_may_be_handed_in_again() -> None:
    """rclpy goes on with a coroutine by handing its task in once more."""
    runs: list[None] = []

    def task() -> None:
        runs.append(None)

    with SubmitOncePool(1) as pool:
        pool.submit(task).result(DEADLINE_S)
        pool.submit(task).result(DEADLINE_S)
    assert len(runs) == 2


def test_what_a_task_raises_reaches_who_asks() -> None:
    with SubmitOncePool(1) as pool, pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 / 0).result(DEADLINE_S)


def test_a_message_that_waits_for_a_thread_costs_no_processor_time(node: Node) -> None:
    """rclpy's own executor takes a whole core as long as it waits, and then finds thousands of copies to clear away."""
    free, taken, heard = threading.Event(), threading.Semaphore(0), threading.Event()

    def take_thread(timer: list[Timer]) -> None:
        timer.pop().cancel()
        taken.release()
        free.wait(DEADLINE_S)

    def block() -> None:
        timer: list[Timer] = []
        timer.append(node.create_timer(0.01, lambda: take_thread(timer), MutuallyExclusiveCallbackGroup()))

    group = MutuallyExclusiveCallbackGroup()
    node.create_subscription(Header, "images", lambda message: heard.set(), 1, callback_group=group)
    publisher = node.create_publisher(Header, "images", 1)
    executor = NodeExecutor(2, node.context)
    executor.add_node(node)
    spinning = threading.Thread(target=executor.spin)
    spinning.start()
    end = time.monotonic() + DEADLINE_S
    while not heard.wait(0.1) and time.monotonic() < end:
        publisher.publish(Header())
    assert heard.is_set()
    block(), block()
    for _ in range(2):
        assert taken.acquire(timeout=DEADLINE_S)
    heard.clear()
    publisher.publish(Header())
    # Nothing else of this process runs meanwhile: what it uses, the waiting uses.
    wall, used = time.monotonic(), time.process_time()
    assert not heard.wait(1.0)
    share = (time.process_time() - used) / (time.monotonic() - wall)
    free.set()
    assert heard.wait(DEADLINE_S)
    executor.shutdown()
    spinning.join(DEADLINE_S)
    assert share < 0.4


class HumbleExecutor(SingleThreadedExecutor):
    """Gives a subscription's callback the message alone."""

    _take_subscription = take_subscription


@pytest.mark.parametrize(("executor_type", "numbered"), [(HumbleExecutor, False), (SingleThreadedExecutor, True)])
def test_an_image_is_received_with_or_without_message_info(node: Node, executor_type: Any, numbered: bool) -> None:
    received: list[tuple[Header, Any]] = []
    callback = with_message_info(lambda message, info: received.append((message, info)))
    node.create_subscription(Header, "images", callback, 1)
    publisher = node.create_publisher(Header, "images", 1)
    executor = executor_type(context=node.context)
    executor.add_node(node)
    end = time.monotonic() + DEADLINE_S
    while not received and time.monotonic() < end:
        publisher.publish(Header(frame_id="camera"))
        executor.spin_once(timeout_sec=0.1)
    executor.shutdown()
    message, info = received[0]
    assert message.frame_id == "camera"
    assert ("received_timestamp" in info) == numbered


class HumbleNode(NodeProcess):
    """The node whose rclpy gives callbacks the message alone."""

    def __init__(self) -> None:
        settings = ("-r", "image:=/camera/image_raw", "-p", "device:=cpu")
        self._start([sys.executable, humble_node.__file__, "--ros-args", *settings], {})


def test_the_node_segments_where_rclpy_passes_the_message_alone() -> None:
    """On Humble it ended with a TypeError at the first image."""
    process = HumbleNode()
    try:
        with client_of(process) as client:
            client.reach("active")
            camera, masks = client.camera(), client.listen("mask", Image)
            for _ in range(3):
                client.send(camera, image_message(np.full((64, 96, 3), 90, np.uint8)), masks)
    finally:
        assert process.stop() == 0
    assert "Traceback" not in process.log()


def test_a_waiting_message_is_taken_once_with_its_info(node: Node) -> None:
    subscription = node.create_subscription(Header, "images", lambda message: None, 1)
    publisher = node.create_publisher(Header, "images", 1)
    end, taken = time.monotonic() + DEADLINE_S, None
    while (taken := take_waiting(subscription)) is None and time.monotonic() < end:
        publisher.publish(Header(frame_id="camera"))
    assert taken is not None
    assert (taken[0].frame_id, "source_timestamp" in taken[1]) == ("camera", True)
    node.destroy_subscription(subscription)
    assert take_waiting(subscription) is None
