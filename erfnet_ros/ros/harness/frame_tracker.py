"""Frame tracker: matches each output of the node with the very message that it answers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

import numpy as np

from erfnet_ros.evaluation.metrics.latency import LatencyStatistics, latency_statistics
from erfnet_ros.ros.harness.playback import Sent

_LOG_DELAY_S = 2.0
"""An output may arrive so long before the log line in which the player says that it sent the image."""


class FrameTracker:
    """Match outputs with images by stamp; safe to use from several threads.

    Everything is counted over a window: outputs that answer an image sent before it are left out.

    Args:
        frame_id: Frame id that every output must have; None where each image has its own.
        topics: Outputs that make an image complete, "mask" among them.

    Attributes:
        sent: Images of the window, in order.
        latencies_ms: Publication of an image to arrival of its mask, in the order of arrival.
        counts: Outputs by topic, at most one of each topic for an image.
        mismatched: Outputs that belong to no image, or repeat an earlier one.
    """

    def __init__(self, frame_id: str | None, topics: Sequence[str]) -> None:
        self._frame_id = frame_id
        self._topics = frozenset(topics)
        self._changed = threading.Condition()
        self._earlier: set[int] = set()
        self._by_stamp: dict[int, Sent] = {}
        self.start_window()

    def start_window(self) -> None:
        """Count anew, from the next image on."""
        with self._changed:
            self._earlier.update(self._by_stamp)
            self._by_stamp = {}
            self._received: dict[int, set[str]] = {}
            self._answered: set[int] = set()
            self._pass_start_ns: int | None = None
            self._past_passes_s = self._pass_s = 0.0
            self.sent: list[Sent] = []
            self.latencies_ms: list[float] = []
            self.counts: Counter[str] = Counter()
            self.mismatched = 0

    @property
    def frames_in(self) -> int:
        """Images that were sent."""
        return len(self.sent)

    @property
    def frames_out(self) -> int:
        """Images whose mask came back."""
        return len(self.latencies_ms)

    @property
    def playing_s(self) -> float:
        """Seconds from the first publication to the last mask, summed over all passes."""
        return self._past_passes_s + self._pass_s

    def begin_pass(self) -> None:
        """Leave the time until the next image out of `playing_s`."""
        with self._changed:
            self._past_passes_s, self._pass_s, self._pass_start_ns = self.playing_s, 0.0, None

    def note_sent(self, sent: Sent) -> None:
        """Note an image that was published."""
        with self._changed:
            self._by_stamp[sent.stamp_ns] = sent
            self.sent.append(sent)
            self._pass_start_ns = self._pass_start_ns or sent.published_ns
            self._changed.notify_all()

    def note_output(self, topic: str, stamp_ns: int, *, frame_id: str, at_ns: int) -> int | None:
        """Note an output that arrived at `at_ns` on the clock of `Sent.published_ns`.

        Returns:
            Index of the frame, or None where the output belongs to no image of this window.
        """
        with self._changed:
            known = self._changed.wait_for(
                lambda: stamp_ns in self._by_stamp or stamp_ns in self._earlier, _LOG_DELAY_S
            )
            if stamp_ns in self._earlier:
                return None
            received = self._received.setdefault(stamp_ns, set())
            if not known or self._frame_id not in (None, frame_id) or topic in received:
                self.mismatched += 1
                return None
            sent = self._by_stamp[stamp_ns]
            received.add(topic)
            self.counts[topic] += 1
            if topic == "mask":
                self.latencies_ms.append((at_ns - sent.published_ns) / 1e6)
                self._answered.add(sent.index)
                if self._pass_start_ns is not None:
                    self._pass_s = (at_ns - self._pass_start_ns) / 1e9
            return sent.index

    def is_last_complete(self) -> bool:
        """Tell whether every output of the newest image has come in; the node never drops the newest image."""
        with self._changed:
            return bool(self.sent) and self._topics <= self._received.get(self.sent[-1].stamp_ns, set())

    def unanswered(self, indexes: Sequence[int]) -> list[int]:
        """Return those of `indexes` whose mask has not come back yet."""
        with self._changed:
            return [index for index in indexes if index not in self._answered]

    def quarters(self) -> list[LatencyStatistics]:
        """Return the latency of each quarter of the run, by order of arrival; nothing below 4 masks."""
        parts = np.array_split(np.array(self.latencies_ms), 4) if self.frames_out >= 4 else []
        return [found for part in parts if (found := latency_statistics(part.tolist())) is not None]
