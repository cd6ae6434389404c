"""Diagnostics of the node on /diagnostics, and its log."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.duration import Duration
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.node import Node

from erfnet_ros.core.printable_text import printable
from erfnet_ros.ros import diagnostic_keys as keys
from erfnet_ros.ros.node.monitoring.conditions import ERROR, OK, WARN, Report

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
        reports: Of its conditions, each of which has a status of its own as well.
    """

    state: str
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    values: Mapping[str, object] = field(default_factory=dict)
    part: str = "segmentation"
    reports: tuple[Report, ...] = ()


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
        message = DiagnosticArray(status=[each for status in statuses for each in self._to_ros(status)])
        message.header.stamp = now.to_msg()
        self._publisher.publish(message)
        if wait_s:
            self._publisher.wait_for_all_acked(Duration(seconds=wait_s))

    def _to_ros(self, status: Status) -> list[DiagnosticStatus]:
        """Return the status of the part, and then that of each of its conditions."""
        problems = " ".join((*status.errors, *filter(None, (each.text for each in status.reports)), *status.warnings))
        levels = (
            [each.level for each in status.reports] + [ERROR] * bool(status.errors) + [WARN] * bool(status.warnings)
        )
        name = f"{self._node.get_fully_qualified_name()}: {status.part}"
        whole = DiagnosticStatus(
            name=name,
            level=max(levels, default=OK),
            message=problems or _DESCRIPTIONS.get(status.state, status.state),
            values=[
                KeyValue(key=key, value=str(value))
                for key, value in {keys.STATE: status.state, **status.values}.items()
            ],
        )
        causes = [
            DiagnosticStatus(name=f"{name}: {each.name}", level=each.level, message=each.text or "ok")
            for each in status.reports
        ]
        return [whole, *causes]


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
