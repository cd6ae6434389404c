"""Simulated time: the node without a clock, and the age of images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from builtin_interfaces.msg import Time
from erfnet_ros.msg import SegmentationStatistics
from rosgraph_msgs.msg import Clock
from support.live_node import Client, NodeProcess, client_of, image_message, running_node

RGB = np.full((64, 96, 3), 90, np.uint8)


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    with running_node({"use_sim_time": True}) as process:
        yield process


@pytest.fixture(scope="module")
def client(node: NodeProcess) -> Iterator[Client]:
    with client_of(node) as client:
        yield client


@pytest.fixture(scope="module")
def age_ms(client: Client) -> Callable[[Time], float]:
    """Return the age that the node gives an image of a stamp."""
    camera, received = client.camera(), client.listen("statistics", SegmentationStatistics)

    def age_ms(stamp: Time) -> float:
        client.wait_for(camera.get_subscription_count, "the node's subscription")
        message = image_message(RGB)
        message.header.stamp = stamp
        received.clear()

        def answer() -> SegmentationStatistics | None:
            camera.publish(message)
            return next((s for s in received if s.header.stamp == stamp), None)

        return client.wait_for(answer, "the statistics").age_ms

    return age_ms


def test_without_a_clock_the_node_segments_and_warns(
    client: Client, node: NodeProcess, age_ms: Callable[[Time], float]
) -> None:
    assert math.isnan(age_ms(Time(sec=1000)))
    status = client.diagnosis(lambda s: "/clock" in s.message, "a warning of the clock")
    assert status.level == b"\x01"
    assert node.log().count("on /clock") == 1


def test_age_is_given_where_stamp_and_clock_agree(client: Client, age_ms: Callable[[Time], float]) -> None:
    clock = client.create_publisher(Clock, "/clock", 1)
    timer = client.create_timer(0.05, lambda: clock.publish(Clock(clock=Time(sec=1000, nanosec=250_000_000))))
    client.diagnosis(lambda s: s.values and "/clock" not in s.message, "the end of the warning")
    assert age_ms(Time(sec=1000)) == 250
    for other in (Time(), Time(sec=1001), Time(sec=1_700_000_000)):
        assert math.isnan(age_ms(other))
    client.destroy_timer(timer)


def test_a_slow_clock_that_is_set_back_does_not_stall_the_node(client: Client, age_ms: Callable[[Time], float]) -> None:
    """As when a simulation runs at a tenth of real time, and is then reset."""
    clock, now_ms = client.create_publisher(Clock, "/clock", 1), [900_000]

    def tick() -> None:
        now_ms[0] += 5
        seconds, milliseconds = divmod(now_ms[0], 1000)
        clock.publish(Clock(clock=Time(sec=seconds, nanosec=1_000_000 * milliseconds)))

    timer = client.create_timer(0.05, tick)
    for second in (900, 500):
        now_ms[0] = 1000 * second
        client.diagnosis(lambda s, second=second: s.values and "/clock" not in s.message, "diagnostics")
        while math.isnan(age := age_ms(Time(sec=second - 1))):
            pass
        assert 1000 <= age < 60_000
    client.destroy_timer(timer)
