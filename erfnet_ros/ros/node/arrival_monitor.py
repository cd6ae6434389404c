"""Arrival of a camera's images: missed frames, silences, and losses on the way."""

from __future__ import annotations

from collections import deque

from erfnet_ros.ros.rclpy_compat import MessageInfo

_SILENCE_S = 2.0
_INTERVALS = 3
"""A slow camera is silent after so many of its intervals."""

_WINDOW_S = 5.0
_LOST_FOR_EACH = 9
"""Images lost for each that arrived, from which on next to nothing arrives."""

_DELIVERY_S = 0.2
"""How soon an idle node has an image that has arrived; more than the executor takes on a busy machine."""


class ArrivalMonitor:
    """Tells a camera whose images do not arrive from a slow camera, and from a node that is slower than the camera.

    All times are of `time.monotonic()`; a node that processes a frame has been idle for 0 s or less.

    Args:
        now_s: When the node subscribed, or last knew of no publisher.
    """

    def __init__(self, now_s: float) -> None:
        self._last_s = self._empty_s = now_s
        self._interval_s = 0.0
        self._numbers: dict[bytes, int] = {}
        self._arrived: deque[tuple[float, float]] = deque(maxlen=1000)

    def arrived(self, info: MessageInfo, now_s: float, idle_s: float) -> int:
        """Return how many images were missed since the publisher's last, by its numbers (Humble has none: 0)."""
        publisher = bytes(info.get("publisher_gid", {}).get("data", b""))
        number = info.get("publication_sequence_number")
        last = self._numbers.get(publisher)
        gap_s, missed, lost = now_s - self._last_s, 0, 0.0
        if number is not None:
            self._numbers[publisher] = number
            if last is not None and number == last + 1:
                self._interval_s = gap_s
            elif last is not None and number > last + 1:
                missed = number - last - 1
                # Those that came while the node was busy were replaced in its reader by newer ones.
                lost = missed * idle_s / gap_s if 0 < idle_s < gap_s else missed * float(idle_s > 0)
        self._last_s = now_s
        self._arrived.append((now_s, lost))
        return missed

    def nothing_waits(self, now_s: float) -> None:
        """Note that the reader was found empty."""
        self._empty_s = now_s

    def problem(self, now_s: float, idle_s: float) -> str | None:
        """Say that no image arrives, or next to none; None where enough do."""
        if idle_s > _DELIVERY_S:
            self._empty_s = now_s
        silence_s = self._empty_s - self._last_s
        if silence_s >= max(_SILENCE_S, _INTERVALS * self._interval_s):
            return f"No image for {silence_s:.0f} s"
        losses = [lost for at_s, lost in tuple(self._arrived) if at_s >= now_s - _WINDOW_S]
        if losses and sum(losses) >= _LOST_FOR_EACH * len(losses):
            return f"Only {len(losses)} of {len(losses) + sum(losses):.0f} images arrived in {_WINDOW_S:.0f} s"
        return None
