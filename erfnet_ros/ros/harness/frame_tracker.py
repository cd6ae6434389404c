"""Which frame was published when, and when its answers came back."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

import numpy as np

from erfnet_ros.evaluation.metrics.latency import LatencyStatistics, latency_statistics

_LOG_DELAY_S = 2.0
"""How long an answer may overtake the player's own word that it sent the frame."""


class FrameTracker:
    """Match what the node publishes with what a player sent, by stamp; safe to use from several threads.

    Args:
        frame_id: What every output's header must carry; None where each frame has its own.
        topics: Outputs that make a frame complete, "mask" among them.

    Attributes:
        published_ns: By frame, when it was published last.
        arrived_ns: By frame, when its mask came in first.
        counts: Outputs by topic.
        mismatched: Outputs that belong to no frame.
    """

    def __init__(self, frame_id: str | None, topics: Sequence[str]) -> None:
        self._frame_id = frame_id
        self._topics = frozenset(topics)
        self._changed = threading.Condition()
        self.forget()

    def forget(self) -> None:
        """Begin anew: nothing was sent, nothing received."""
        self._index_of: dict[int, int] = {}
        self._seen: dict[int, set[str]] = {}
        self._last_stamp: int | None = None
        self.published_ns: dict[int, int] = {}
        self.arrived_ns: dict[int, int] = {}
        self._sent = 0
        self._pass_start: int | None = None
        self._past_passes_s = 0.0
        self._pass_s = 0.0
        self._latencies_ms: list[float] = []
        self.counts: Counter[str] = Counter()
        self.mismatched = 0

    @property
    def frames_in(self) -> int:
        """Frames that were sent."""
        return self._sent

    @property
    def frames_out(self) -> int:
        """Frames whose mask came back."""
        return len(self._latencies_ms)

    @property
    def latencies_ms(self) -> tuple[float, ...]:
        """Publication to mask received, in the order of arrival."""
        return tuple(self._latencies_ms)

    @property
    def playing_s(self) -> float:
        """Seconds from the first publication to the last mask, over all passes."""
        return self._past_passes_s + self._pass_s

    def begin_pass(self) -> None:
        """Begin to count `playing_s` anew from the next frame on; the time between two passes does not count."""
        with self._changed:
            self._past_passes_s, self._pass_s, self._pass_start = self.playing_s, 0.0, None

    def sent(self, index: int, stamp_ns: int, published_ns: int | None = None) -> None:
        """Note that frame `index` is published with this stamp.

        Args:
            index: Of the frame.
            stamp_ns: Of its header; where several frames bear it, an output is taken for that which was sent last.
            published_ns: When, on the clock of `received`; None where the stamp says it.
        """
        with self._changed:
            published_ns = stamp_ns if published_ns is None else published_ns
            self._index_of[stamp_ns] = index
            self._sent += 1
            self._last_stamp = stamp_ns
            self.published_ns[index] = published_ns
            self._pass_start = self._pass_start or published_ns
            self._changed.notify_all()

    def received(self, topic: str, stamp_ns: int, frame_id: str, at_ns: int) -> int | None:
        """Note an output.

        Args:
            topic: One of the topics, or another that is only counted.
            stamp_ns: Stamp in its header, ns.
            frame_id: Frame id in its header.
            at_ns: When it came in, ns on the clock of the publication.

        Returns:
            The frame that it belongs to, or None where no frame has this stamp and frame id; that is counted.
        """
        with self._changed:
            known = self._changed.wait_for(lambda: stamp_ns in self._index_of, _LOG_DELAY_S)
            if not known or self._frame_id not in (None, frame_id):
                self.mismatched += 1
                return None
            index = self._index_of[stamp_ns]
            self.counts[topic] += 1
            self._seen.setdefault(stamp_ns, set()).add(topic)
            if topic == "mask":
                self._latencies_ms.append((at_ns - self.published_ns[index]) / 1e6)
                self.arrived_ns.setdefault(index, at_ns)
                if self._pass_start is not None:
                    self._pass_s = (at_ns - self._pass_start) / 1e9
            return index

    def is_last_complete(self) -> bool:
        """Tell whether every output of the frame sent last has come in; the node never drops the newest frame."""
        with self._changed:
            return self._last_stamp is not None and self._topics <= self._seen.get(self._last_stamp, set())

    def unanswered(self, indexes: Sequence[int]) -> list[int]:
        """Return those of `indexes` whose mask has not come back yet."""
        with self._changed:
            return [index for index in indexes if index not in self.arrived_ns]

    def quarters(self) -> list[LatencyStatistics]:
        """Return the latency of each quarter of the run, by order of arrival; nothing below 4 frames."""
        parts = np.array_split(np.array(self._latencies_ms), 4)
        found = [latency_statistics(part.tolist()) for part in parts]
        return [part for part in found if part is not None] if len(self._latencies_ms) >= 4 else []
