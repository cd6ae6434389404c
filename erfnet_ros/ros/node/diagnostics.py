"""What the node says of itself on /diagnostics, in words."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.node import Node


@dataclass(frozen=True)
class Health:
    """How the node, or one of its cameras, is in one moment.

    Attributes:
        state: What the node is doing, one line.
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
        status.message = " ".join((*health.errors, *health.warnings)) or health.state
        figures = {"state": health.state, **health.figures}
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
