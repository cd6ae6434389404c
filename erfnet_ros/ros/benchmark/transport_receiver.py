"""Receiver of the transport benchmark: subscribes to images as the node does, and logs their arrival."""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Sequence

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image

from erfnet_ros.ros.node.camera import newest_only
from erfnet_ros.ros.transport import keep_large_blocks


class Receiver(Node):
    """Write a line of JSON for each image: stamp and time of arrival, ns since the epoch."""

    def __init__(self, topic: str, reliability: ReliabilityPolicy) -> None:
        super().__init__("receiver", namespace="/benchmark")
        self.create_subscription(Image, topic, self._receive, newest_only(reliability))

    def _receive(self, message: Image) -> None:
        at_ns = time.time_ns()
        stamp = message.header.stamp
        print(json.dumps({"stamp_ns": stamp.sec * 1_000_000_000 + stamp.nanosec, "at_ns": at_ns}), flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Receive until standard input ends; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m erfnet_ros.ros.benchmark.transport_receiver", description="Log the arrival of images."
    )
    parser.add_argument("topic", help="of sensor_msgs/Image")
    parser.add_argument("--reliability", choices=("reliable", "best_effort"), default="best_effort")
    options = parser.parse_args(argv)
    keep_large_blocks()
    # rclpy's own handlers wake a spin that nothing else would: without them SIGINT waits for the next image.
    rclpy.init(args=[])
    receiver = Receiver(options.topic, ReliabilityPolicy[options.reliability.upper()])
    threading.Thread(target=_shut_down_at_end_of_input, daemon=True).start()
    try:
        rclpy.spin(receiver)
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    finally:
        rclpy.try_shutdown()
    return 0


def _shut_down_at_end_of_input() -> None:
    sys.stdin.read()
    rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
