"""Diagnostics of the node on /diagnostics, and its log."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.duration import Duration
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.node import Node

from erfnet_ros.core.printable_text import printable
from erfnet_ros.ros import diagnostic_keys as keys
from erfnet_ros.ros.node.monitoring.watchdog import EXIT_CODE

if TYPE_CHECKING:
    # Both import torch, which the projector's diagnostics do not need.
    from erfnet_ros.ros.node.camera import Camera
    from erfnet_ros.ros.node.resources import NodeResources

_NO_TIME = (
    "Parameter 'use_sim_time' is true but no time was received on /clock, so age_ms is NaN and the stamps of "
    "diagnostics are 0; start the simulator, play the bag with --clock, or set use_sim_time to false."
)


LONGEST_MESSAGE = 2000
"""Characters of a message of the core that are shown."""


@dataclass(frozen=True)
class Status:
    """State of the node, or of one of its cameras.

    Attributes:
        state: One of the states in `diagnostic_keys`.
        errors: What keeps it from working, and what to do.
        warnings: What is worse than it could be, and what to do.
        values: By the keys of `diagnostic_keys`.
        part: The node's own status, or a camera's name.
    """

    state: str
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    values: Mapping[str, object] = field(default_factory=dict)
    part: str = "segmentation"


class Diagnostics:
    """Publishes each `Status` as a diagnostic_msgs/DiagnosticStatus (REP 107)."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 1)

    def publish(self, statuses: Sequence[Status], wait_s: float = 0.0) -> None:
        """Publish all in one message, and warn in the first and in the log where the node's clock has no time.

        Args:
            statuses: At least one.
            wait_s: How long to wait for the subscribers to get it.
        """
        now = self._node.get_clock().now()
        if now.nanoseconds == 0:
            self._node.get_logger().warning(_NO_TIME, once=True)
            statuses = [replace(statuses[0], warnings=(*statuses[0].warnings, _NO_TIME)), *statuses[1:]]
        message = DiagnosticArray(status=[self._to_ros(status) for status in statuses])
        message.header.stamp = now.to_msg()
        self._publisher.publish(message)
        if wait_s:
            self._publisher.wait_for_all_acked(Duration(seconds=wait_s))

    def _to_ros(self, status: Status) -> DiagnosticStatus:
        problems = " ".join((*status.errors, *status.warnings))
        level = DiagnosticStatus.WARN if status.warnings else DiagnosticStatus.OK
        return DiagnosticStatus(
            name=f"{self._node.get_fully_qualified_name()}: {status.part}",
            level=DiagnosticStatus.ERROR if status.errors else level,
            message=problems or _DESCRIPTIONS.get(status.state, status.state),
            values=[
                KeyValue(key=key, value=str(value))
                for key, value in {keys.STATE: status.state, **status.values}.items()
            ],
        )


class LogForwarder(logging.Handler):
    """Forwards the core's log to the node's logger, and with it to /rosout."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__(logging.INFO)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        message = printable(record.getMessage(), LONGEST_MESSAGE)
        # The ROS logger ties a severity to the line that it is called from, so each has a line of its own.
        if record.levelno >= logging.ERROR:
            self._logger.error(message)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(message)
        else:
            self._logger.info(message)


_DESCRIPTIONS = {keys.WAITING: "waiting: nobody reads an output"}
"""States that need more than their own name."""


def build_status(resources: NodeResources, active: bool) -> list[Status]:
    """Return the node's status and then that of each named camera; a camera without a name is part of the node's."""
    engine = resources.segmenter.engine
    values = {
        keys.ENGINE: engine.name,
        keys.DEVICE: engine.device,
        keys.PRECISION: engine.precision,
        keys.CLASSES: printable(resources.segmenter.class_set.name),
    }
    notes = {keys.NOTES: " ".join(resources.notes)}
    cameras = [_camera_status(camera, active) for camera in resources.cameras]
    if not resources.cameras[0].name:
        (only,) = cameras
        return [replace(only, warnings=only.warnings + resources.warnings, values={**values, **only.values, **notes})]
    values[keys.CAMERAS] = ", ".join(camera.name for camera in resources.cameras)
    values[keys.SUBSCRIBED_CAMERAS] = ", ".join(camera.name for camera in resources.subscribed)
    state = _state(bool(resources.subscribed), active)
    return [Status(state, (), resources.warnings, {**values, **notes}), *cameras]


def hang_status(resources: NodeResources, waited_s: float) -> Status:
    """Return the status of a node whose engine has not returned for `waited_s`."""
    engine = resources.segmenter.engine
    error = (
        f"The engine {engine.name} on {engine.device} has not returned for {waited_s:.0f} s and cannot be interrupted: "
        f"the process ends with exit code {EXIT_CODE}, to be started again by respawn:=true or another supervisor; "
        "where it happens again, look for the device's fault in dmesg, or choose another engine."
    )
    return Status(keys.HANGING, (error,), (), {keys.ENGINE: engine.name, keys.DEVICE: engine.device})


def _camera_status(camera: Camera, active: bool) -> Status:
    warnings = []
    if camera.last_error:
        warnings.append(f"Frames are rejected: {camera.last_error}")
    if active and (problem := camera.input_problem()):
        warnings.append(problem)
    values = {
        keys.IMAGE_TOPIC: camera.topic,
        keys.SUBSCRIBED: camera.subscribed,
        keys.FRAMES_PROCESSED: camera.processed,
        keys.FRAMES_DROPPED: camera.dropped,
        keys.FRAMES_REJECTED: camera.rejected,
    }
    part = f"camera {camera.name}" if camera.name else Status.part
    return Status(_state(camera.subscribed, active), (), tuple(warnings), values, part)


def _state(subscribed: bool, active: bool) -> str:
    if not active:
        return keys.INACTIVE
    return keys.SEGMENTING if subscribed else keys.WAITING
