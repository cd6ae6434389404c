"""Machine that figures come from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import metadata

import rclpy

from erfnet_ros.core.system_info import processor, version_of


@dataclass(frozen=True)
class Machine:
    """Where the figures come from."""

    processor: str
    cores: int
    load: float
    pytorch: str
    ros: str
    middleware: str


def describe_machine() -> Machine:
    """Return the processor and the versions that the figures depend on."""
    return Machine(
        processor=processor(),
        cores=len(os.sched_getaffinity(0)),
        load=os.getloadavg()[0],
        pytorch=metadata.version("torch"),
        ros=os.environ.get("ROS_DISTRO") or f"rclpy {version_of('ros-rclpy', 'rclpy') or 'of unknown version'}",
        middleware=rclpy.get_rmw_implementation_identifier(),
    )
