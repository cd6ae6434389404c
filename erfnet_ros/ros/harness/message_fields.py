"""What the node says that became of its frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
