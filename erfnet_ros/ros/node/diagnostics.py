"""What the node says of itself on /diagnostics, in words."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.node import Node

from erfnet_ros.ros import diagnostic_keys as keys
from erfnet_ros.ros.node.camera import NodeCamera
from erfnet_ros.ros.node.resources import Loaded


@dataclass(frozen=True)
class Health:
    """How the node, or one of its cameras, is in one moment.

    Attributes:
        state: One of the states in `diagnostic_keys`.
        errors: What keeps it from working, and what to do.
        warnings: What is worse than it could be, and what to do.
        figures: Names and values for the table below.
        part: What it is about: segmentation, or a camera's name.
    """

    state: str
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    figures: Mapping[str, object] = field(default_factory=dict)
    part: str = "segmentation"


class Diagnostics:
    """Publishes `Health`s, each as one diagnostic_msgs/DiagnosticStatus (REP 107)."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 1)

    def publish(self, healths: Sequence[Health]) -> None:
        """Publish now, in one message."""
        message = DiagnosticArray(status=[self._status(health) for health in healths])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _status(self, health: Health) -> DiagnosticStatus:
        level = (
            DiagnosticStatus.ERROR
            if health.errors
            else DiagnosticStatus.WARN
            if health.warnings
            else DiagnosticStatus.OK
        )
        name = f"{self._node.get_fully_qualified_name()}: {health.part}"
        status = DiagnosticStatus(name=name, hardware_id="", level=level)
        status.message = " ".join((*health.errors, *health.warnings)) or _DESCRIPTIONS.get(health.state, health.state)
        figures = {keys.STATE: health.state, **health.figures}
        status.values = [KeyValue(key=key, value=str(value)) for key, value in figures.items()]
        return status


class LogForwarder(logging.Handler):
    """Hands what the core logs to the node's logger, and with it to /rosout."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__(logging.INFO)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        # The ROS logger ties a severity to the line that it is called from, so each has a line of its own.
        if record.levelno >= logging.ERROR:
            self._logger.error(record.getMessage())
        elif record.levelno >= logging.WARNING:
            self._logger.warning(record.getMessage())
        else:
            self._logger.info(record.getMessage())


_DESCRIPTIONS = {keys.WAITING: "waiting: nobody reads an output"}
"""States that need more than their own name."""


def health_of(loaded: Loaded, active: bool) -> list[Health]:
    """Return the node's health and then that of each named camera; a camera without a name is part of the node's."""
    engine = loaded.segmenter.engine
    figures = {
        keys.ENGINE: engine.name,
        keys.DEVICE: engine.device,
        keys.PRECISION: engine.precision,
        keys.CLASSES: loaded.segmenter.class_set.name,
    }
    notes = {keys.NOTES: " ".join(loaded.notes)}
    cameras = [_camera_health(camera, active) for camera in loaded.cameras]
    if not loaded.cameras[0].name:
        (only,) = cameras
        return [replace(only, warnings=only.warnings + loaded.warnings, figures={**figures, **only.figures, **notes})]
    figures[keys.CAMERAS] = ", ".join(camera.name for camera in loaded.cameras)
    figures[keys.SUBSCRIBED_CAMERAS] = ", ".join(camera.name for camera in loaded.subscribed)
    state = _state(bool(loaded.subscribed), active)
    return [Health(state, (), loaded.warnings, {**figures, **notes}), *cameras]


def _camera_health(camera: NodeCamera, active: bool) -> Health:
    warnings = []
    if camera.complaint:
        warnings.append(f"Frames are rejected: {camera.complaint}")
    if active and (complaint := camera.input.complaint()):
        warnings.append(complaint)
    figures = {
        keys.IMAGE_TOPIC: camera.input.topic,
        keys.SUBSCRIBED: camera.input.subscribed,
        keys.FRAMES_PROCESSED: camera.processed,
        keys.FRAMES_DROPPED: camera.dropped,
        keys.FRAMES_REJECTED: camera.rejected,
    }
    part = f"camera {camera.name}" if camera.name else Health.part
    return Health(_state(camera.input.subscribed, active), (), tuple(warnings), figures, part)


def _state(subscribed: bool, active: bool) -> str:
    if not active:
        return keys.INACTIVE
    return keys.SEGMENTING if subscribed else keys.WAITING
