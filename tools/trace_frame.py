#!/usr/bin/env python3
"""Trace of one frame: the files and the stack depth from the image subscription to the published mask.

Runs the node in this process, sends it images over DDS, and profiles the first frame after warm-up.
"""

from __future__ import annotations

import sys
import threading
from array import array
from pathlib import Path
from types import FrameType
from typing import Any

import rclpy
from sensor_msgs.msg import Image

import erfnet_ros
from erfnet_ros.ros.harness.child_process import keep_to_this_machine
from erfnet_ros.ros.node.segmenter_node import SegmenterNode
from erfnet_ros.ros.rclpy_compat import NodeExecutor

PACKAGE = Path(erfnet_ros.__file__).parent

_ELSEWHERE = {"ros/node/segmenter_node.py", "ros/node/monitoring/diagnostics.py", "ros/node/monitoring/watchdog.py"}
"""The node's timers and its watchdog are no part of the way."""

_MOST_IMAGES = 120
"""One a second: so long may engine and discovery take."""


class FrameTrace:
    """Profile function that records the files of erfnet_ros from an image's arrival to its published mask."""

    def __init__(self) -> None:
        self.files: dict[str, int] = {}
        self.armed = False
        self.done = threading.Event()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "call" or not self.armed or self.done.is_set():
            return
        stack = files_of(frame)
        if not self.files and stack[:1] != ["ros/node/camera.py"]:
            return
        if frame.f_code.co_name == "publish" and frame.f_code.co_filename.endswith("lifecycle/publisher.py"):
            self.done.set()
        elif not _ELSEWHERE & set(stack):
            for depth, file in enumerate(reversed(stack), start=1):
                self.files[file] = max(depth, self.files.get(file, 0))


def files_of(frame: FrameType | None) -> list[str]:
    """Return the files of erfnet_ros on the stack, the innermost first, each once."""
    files: dict[str, None] = {}
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PACKAGE):
            files[str(path.relative_to(PACKAGE))] = None
        frame = frame.f_back
    return list(files)


def main() -> None:
    """Print the files of one frame in the order in which they are entered."""
    trace, received = FrameTrace(), threading.Semaphore(0)
    threading.setprofile(trace)
    keep_to_this_machine()
    rclpy.init()
    node, tester = SegmenterNode(), rclpy.create_node("tester")
    tester.create_subscription(Image, "/segmentation/mask", lambda mask: received.release(), 1)
    publisher = tester.create_publisher(Image, "/segmentation/image", 1)
    executor = NodeExecutor(num_threads=4)
    executor.add_node(node)
    executor.add_node(tester)
    threading.Thread(target=executor.spin, daemon=True).start()
    image = Image(width=480, height=360, encoding="bgr8", step=1440, data=array("B", bytes(480 * 360 * 3)))
    for _ in range(_MOST_IMAGES):
        publisher.publish(image)
        # The first frame of a size prepares the network for it.
        trace.armed |= received.acquire(timeout=1.0)
        if trace.done.is_set():
            break
    received.acquire(timeout=10.0)
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()
    for path, depth in trace.files.items():
        print(f"{depth:2}  {path}")
    print(f"{len(trace.files)} files, stack of {max(trace.files.values(), default=0)} files")
    sys.exit(not trace.done.is_set())


if __name__ == "__main__":
    main()
