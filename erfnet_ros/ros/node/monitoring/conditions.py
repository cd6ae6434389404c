"""Table of the conditions that diagnostics report, and how long each must last before its level changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticStatus

from erfnet_ros.ros import diagnostic_keys as keys

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@dataclass(frozen=True)
class Condition:
    """One row of the table.

    Attributes:
        name: One of the names in `diagnostic_keys`.
        text: What is wrong and what to do, with placeholders for what was found.
        warn_after_s: How long it must last before WARN.
        error_after_s: How long it must last before ERROR.
        clear_after_s: How long it must be gone before OK.
        logged: Whether a higher level is logged here; otherwise what finds it logs it.
    """

    name: str
    text: str
    warn_after_s: float = 0.0
    error_after_s: float = math.inf
    clear_after_s: float = 5.0
    logged: bool = True


_LOST = "on {topic}, which has a publisher ({offered}): it sends nothing, or its images are lost on the way. {remedy}"

CAMERA_CONDITIONS = (
    Condition(
        keys.NO_PUBLISHER,
        "Nobody publishes {topic}{similar}; start the camera, or remap {image} to its topic.",
        warn_after_s=1.0,
        error_after_s=10.0,
        clear_after_s=0.0,
    ),
    Condition(
        keys.WRONG_TYPE,
        "Expected {expected} on {topic}, got {got}; check image_transport and the remapping.",
        warn_after_s=1.0,
        error_after_s=10.0,
        clear_after_s=0.0,
    ),
    # ArrivalMonitor waits before it calls a camera silent.
    Condition(keys.SILENCE, f"No image for {{silence_s:.0f}} s {_LOST}", error_after_s=8.0, clear_after_s=0.0),
    Condition(
        keys.LOSS, f"Only {{received}} of {{sent:.0f}} images arrived in {{window_s:.0f}} s {_LOST}", error_after_s=30.0
    ),
    Condition(keys.REJECTED, "Frames are rejected: {reason}", error_after_s=10.0, clear_after_s=0.0, logged=False),
    Condition(
        keys.ZERO_STAMPS,
        "The images on {topic} are not stamped (0), so no consumer can match a mask to other data: let the camera's "
        "driver stamp them with the time of capture.",
        warn_after_s=2.0,
    ),
    Condition(
        keys.STAMP_AGE,
        "The images on {topic} are {age} when they arrive: synchronize the computers' clocks (chrony), play a bag "
        "with --clock and use_sim_time, or look for what delays them.",
        warn_after_s=5.0,
    ),
    Condition(
        keys.STAMP_JUMPS,
        "The stamps on {topic} went back by {back_s:.3f} s: two publishers, a bag that begins again, or a clock that "
        "was set; give each camera a topic of its own, and let chrony slew the clock.",
    ),
    Condition(
        keys.SLOW,
        "The node is slower than the camera and drops {percent:.0f} % of the images on {topic}: lower the camera's "
        "rate, set a smaller input_size, or choose a faster engine or device (docs/engines.md).",
        warn_after_s=10.0,
    ),
    Condition(
        keys.LOW_CONFIDENCE,
        "The network is unsure of the images on {topic}, with a mean confidence of {confidence:.2f}: look at overlay "
        "for a dirty or dark lens; a scene unlike the training's needs images of its own (docs/own_classes.md).",
        warn_after_s=30.0,
        clear_after_s=10.0,
    ),
    Condition(
        keys.INCOMPATIBLE_SUBSCRIBER,
        "A subscriber of {topic} receives nothing: it asks for transient local durability, which legend and label_info "
        "have; subscribe with volatile durability.",
        warn_after_s=2.0,
    ),
)

NODE_CONDITIONS = (
    Condition(keys.ENGINE_FALLBACK, "{failure}", clear_after_s=0.0, logged=False),
    Condition(
        keys.MEMORY_GROWTH,
        "The process grew by {growth_mb:.0f} MB in {minutes:.0f} minutes, to {memory_mb:.0f} MB: restart the node when "
        "the robot can wait, and report it with the log.",
    ),
    Condition(
        keys.GPU_MEMORY,
        "Only {free_mb:.0f} of {total_mb:.0f} MB are free on {device}: end other programs on the GPU, or set a smaller "
        "input_size.",
        warn_after_s=5.0,
    ),
)


@dataclass(frozen=True)
class Finding:
    """A condition that holds now: what fills its text, and whether it may become an error."""

    fills: Mapping[str, object]
    urgent: bool = True


@dataclass(frozen=True)
class Report:
    """A condition's level, and its text unless it is OK."""

    name: str
    level: bytes
    text: str = ""


@dataclass
class _Hold:
    """The present episode of a condition; its text is the last one."""

    since_s: float = math.inf
    seen_s: float = -math.inf
    level: bytes = OK
    text: str = ""


@dataclass
class ConditionMonitor:
    """The levels of conditions over time, in which each must last before its level changes.

    Attributes:
        conditions: Rows of the table.
        warn: Logs a text.
    """

    conditions: Iterable[Condition]
    warn: Callable[[str], object]
    _holds: dict[str, _Hold] = field(default_factory=dict)

    def update(self, found: Mapping[str, Finding], now_s: float) -> tuple[Report, ...]:
        """Return the reports of all conditions at a time of `time.monotonic()`, of which `found` hold."""
        return tuple(self._update(condition, found.get(condition.name), now_s) for condition in self.conditions)

    def _update(self, condition: Condition, finding: Finding | None, now_s: float) -> Report:
        hold = self._holds.setdefault(condition.name, _Hold())
        before = hold.level
        if finding is None:
            # What was not reported yet begins anew; what was, ends only once it is gone for a time.
            if before == OK or now_s - hold.seen_s >= condition.clear_after_s:
                hold = self._holds[condition.name] = _Hold()
            return Report(condition.name, hold.level, hold.text)
        hold.since_s, hold.seen_s = min(hold.since_s, now_s), now_s
        lasted_s = now_s - hold.since_s
        if finding.urgent and lasted_s >= condition.error_after_s:
            hold.level = ERROR
        elif lasted_s >= condition.warn_after_s:
            hold.level = WARN
        if hold.level != OK:
            hold.text = condition.text.format(**finding.fills)
        if hold.level > before and condition.logged:
            self.warn(hold.text)
        return Report(condition.name, hold.level, hold.text)
