"""Time of labeled point clouds on one core: from depth image, mask and confidence to the bytes of the message."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np

from erfnet_ros.commands.benchmark.candidates import wall_ms
from erfnet_ros.commands.benchmark.statistics import CloudTime, Size, times
from erfnet_ros.data.point_cloud import PointFilter, depth_to_meters, project

_WARM_UP = 2


def measure_cloud(size: Size, runs: int) -> CloudTime:
    """Measure the clouds of a 16UC1 depth image of (width, height) that nothing is filtered out of."""
    width, height = size
    random = np.random.default_rng(0)
    depth = random.integers(0, 9000, (height, width), np.uint16)
    labels, confidence = random.integers(0, 11, (2, height, width), np.uint8)
    rgb = random.integers(0, 256, (height, width, 3), np.uint8)
    message = SimpleNamespace(encoding="16UC1", height=height, width=width, step=2 * width, is_bigendian=0)
    message.data = depth.tobytes()
    intrinsics = (0.9 * width, 0.9 * width, width / 2, height / 2)

    def work() -> bytes:
        meters = depth_to_meters(message)
        points = project(meters, intrinsics, rgb=rgb, labels=labels, confidence=confidence, kept=PointFilter())
        return points.tobytes()

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        return CloudTime(size, times([wall_ms(work) for _ in range(_WARM_UP + runs)][_WARM_UP:]))
    finally:
        cv2.setNumThreads(threads)
