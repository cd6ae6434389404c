"""Fault camera: publishes pictures whose headers say what they hold, so that every mask can be checked.

Run it with `python -m support.faults.camera /camera/image_raw --rate 30`. The frame id is PICTURE:WIDTHxHEIGHT:ENCODING
and the stamp's nanoseconds, as in 2:320x240:bgr8:1700000000123456789; a mask that carries it must be that picture's.
"""

from __future__ import annotations

import argparse
import itertools
import time
from array import array
from functools import cache

import cv2
import numpy as np
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.image import to_array
from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.ros.transport import keep_large_blocks

PICTURES = 3
JPEG = "jpeg"


@cache
def message(picture: int, size: str, encoding: str) -> Image | CompressedImage:
    """Return a picture's message, without a header; all callers share it."""
    width, height = map(int, size.split("x"))
    rgb = Street(seed=4, size=(width, height)).frame(30 * picture)[0]
    if encoding == JPEG:
        encoded = cv2.imencode(".jpg", rgb[..., ::-1])[1]
        return CompressedImage(format="rgb8; jpeg compressed bgr8", data=array("B", encoded.tobytes()))
    pixels = {"rgb8": rgb, "bgr8": rgb[..., ::-1], "mono8": cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)}[encoding]
    data = array("B", np.ascontiguousarray(pixels).tobytes())
    return Image(height=height, width=width, encoding=encoding, step=len(data) // height, data=data)


def rgb_of(picture: int, size: str, encoding: str) -> Pixels:
    """Return the picture as the node must read it, (H, W, 3) uint8 RGB."""
    content = message(picture, size, encoding)
    if encoding == JPEG:
        return np.ascontiguousarray(cv2.imdecode(np.frombuffer(content.data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1])
    return to_array(content)


def main() -> None:
    """Publish until the process is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("topics", nargs="+")
    parser.add_argument("--rate", type=float, default=30.0)
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--encoding", default="rgb8")
    parser.add_argument("--reliability", default="reliable")
    parser.add_argument("--clock", type=float, default=0.0, help="seconds by which its stamps are ahead")
    options = parser.parse_args()
    keep_large_blocks()
    rclpy.init()
    node = rclpy.create_node("camera", namespace="/fault")
    kind = CompressedImage if options.encoding == JPEG else Image
    profile = QoSProfile(depth=1, reliability=ReliabilityPolicy[options.reliability.upper()])
    publishers = [node.create_publisher(kind, topic, profile) for topic in options.topics]
    due_s = time.monotonic()
    for picture in itertools.cycle(range(PICTURES)):
        content = message(picture, options.size, options.encoding)
        stamp_ns = time.time_ns() + round(options.clock * 1e9)
        content.header.stamp.sec, content.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
        content.header.frame_id = f"{picture}:{options.size}:{options.encoding}:{stamp_ns}"
        for publisher in publishers:
            publisher.publish(content)
        due_s = max(due_s + 1 / options.rate, time.monotonic())
        time.sleep(max(0.0, due_s - time.monotonic()))


if __name__ == "__main__":
    main()
