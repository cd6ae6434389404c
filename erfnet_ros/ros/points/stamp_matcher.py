"""Matching of segmented frames with the depth of the nearest stamp."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

DEPTH = "depth"

_KEPT = 15
"""Frames and depths that wait for each other: half a second at 30 Hz, more than segmentation takes."""


class StampMatcher:
    """Collects the messages of a frame, which carry equal stamps, and finds the depth that is nearest in time.

    Args:
        topics: The topics of a frame; a frame is complete when it has a message of each.

    Attributes:
        unmatched: Frames with a mask for which the other topics, or a depth within the tolerance, did not come.
    """

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = frozenset(topics)
        self._frames: dict[int, dict[str, Any]] = {}
        self._depths: dict[int, Any] = {}
        self.unmatched = 0

    def add(self, topic: str, stamp_ns: int, message: Any) -> None:
        """Keep a message of one of the topics, or of `DEPTH`."""
        if topic == DEPTH:
            self._depths[stamp_ns] = message
            if len(self._depths) > _KEPT:
                del self._depths[next(iter(self._depths))]
            return
        self._frames.setdefault(stamp_ns, {})[topic] = message
        if len(self._frames) > _KEPT:
            self._drop(next(iter(self._frames)))

    def matches(self, tolerance_ns: int) -> Iterator[tuple[dict[str, Any], Any]]:
        """Yield each complete frame, as a message by topic, with its depth; a frame is yielded or dropped once.

        A frame waits until a depth of its own stamp or of a later one came: before that a nearer one may come.
        """
        newest_ns = max(self._depths, default=-1)
        for stamp_ns in sorted(self._frames):
            frame = self._frames.get(stamp_ns, {})
            if frame.keys() != self._topics or newest_ns < stamp_ns:
                continue
            nearest_ns = min(self._depths, key=lambda depth_ns: abs(depth_ns - stamp_ns))
            if abs(nearest_ns - stamp_ns) > tolerance_ns:
                self._drop(stamp_ns)
                continue
            depth = self._depths[nearest_ns]
            del self._frames[stamp_ns]
            # Messages come in the order of their stamps: what is older will find no partner.
            for older_ns in [other_ns for other_ns in self._frames if other_ns < stamp_ns]:
                self._drop(older_ns)
            for older_ns in [other_ns for other_ns in self._depths if other_ns < nearest_ns]:
                del self._depths[older_ns]
            yield frame, depth

    def _drop(self, stamp_ns: int) -> None:
        # A camera image without a mask was dropped by the segmenter, which counts it.
        self.unmatched += "mask" in self._frames.pop(stamp_ns)
