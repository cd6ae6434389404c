"""What the node says that became of its frames."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from rclpy.serialization import deserialize_message

from erfnet_ros.msg import SegmentationStatistics


@dataclass(frozen=True)
class NodeCounts:
    """Frames by what became of them, as the node counts them itself.

    Attributes:
        processed: Segmented and published.
        dropped: Passed over for a newer one.
        rejected: Refused.
    """

    processed: int = 0
    dropped: int = 0
    rejected: int = 0

    @classmethod
    def of(cls, statistics: Any) -> NodeCounts:
        """Return the counts in a SegmentationStatistics message."""
        return cls(statistics.frames_processed, statistics.frames_dropped, statistics.frames_rejected)

    @property
    def total(self) -> int:
        """Frames that the node knows of."""
        return self.processed + self.dropped + self.rejected

    def __sub__(self, earlier: NodeCounts) -> NodeCounts:
        return NodeCounts(
            self.processed - earlier.processed, self.dropped - earlier.dropped, self.rejected - earlier.rejected
        )


def read_header(message: Any) -> tuple[int, str]:
    """Return stamp (ns) and frame id of a message, or of its serialized bytes, that begins with a header."""
    if not isinstance(message, bytes):
        stamp = message.header.stamp
        return stamp.sec * 1_000_000_000 + stamp.nanosec, message.header.frame_id
    order = "<" if message[1] & 1 else ">"
    seconds, nanoseconds, length = struct.unpack_from(f"{order}iII", message, 4)
    return seconds * 1_000_000_000 + nanoseconds, message[16 : 16 + max(0, length - 1)].decode(errors="replace")


def read_statistics(message: Any) -> SegmentationStatistics:
    """Return statistics, serialized or not."""
    if not isinstance(message, bytes):
        return message
    return deserialize_message(message, SegmentationStatistics)
