"""Drop reasons: why an image was not answered, from the counts of the node."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from erfnet_ros.evaluation.results.frame_records import DROPPED, REJECTED
from erfnet_ros.ros.harness.output_recorder import NodeCounts

SKIPPED = "a newer image came before the node took it"
LOST_BEFORE = "lost on the way to the node"
LOST_AFTER = "its mask was lost on the way back"
REFUSED = "refused by the node"


@dataclass(frozen=True)
class DropReason:
    """Outcome of an image without an answer, dropped or rejected, and the reason for people."""

    outcome: str
    reason: str


def drop_reasons(
    sent: Sequence[int],
    answered: Collection[int],
    *,
    reports: Mapping[int, NodeCounts],
    final: NodeCounts,
    unreadable: Collection[int],
) -> dict[int, DropReason]:
    """Return the drop reason of every image without an answer.

    The difference of the node's counts between two answered images tells how many in between it skipped, refused, or
    answered with a mask that did not arrive. Images that it never counted did not reach it. Between the same two
    answers, the unreadable images are taken for the refused ones.

    Args:
        sent: Images in the order of publication.
        reports: By image, counts of the node after that image.
        final: Counts of the node in the end.
        unreadable: Images that cannot be decoded.
    """
    found: dict[int, DropReason] = {}
    before = NodeCounts()
    for gap, silent, report in _gaps(sent, answered, reports):
        counted = (final if report is None else report) - before
        # The answered images of a gap, and the one that ends it, are processed as well.
        vain = counted.processed - silent - (report is not None)
        found.update(
            _reasons_in(gap, rejected=counted.rejected, vain=vain, dropped=counted.dropped, unreadable=unreadable)
        )
        before = before if report is None else report
    return found


def _gaps(
    sent: Sequence[int], answered: Collection[int], reports: Mapping[int, NodeCounts]
) -> Iterator[tuple[list[int], int, NodeCounts | None]]:
    """Yield the unanswered images between two reports, how many there were answered, and the report that ends them."""
    gap, silent = [], 0
    for index in sent:
        if index not in answered:
            gap.append(index)
        elif index not in reports:
            silent += 1
        else:
            yield gap, silent, reports[index]
            gap, silent = [], 0
    yield gap, silent, None


def _reasons_in(
    gap: Sequence[int], *, rejected: int, vain: int, dropped: int, unreadable: Collection[int]
) -> dict[int, DropReason]:
    refused = sorted(gap, key=lambda index: index not in unreadable)[: max(0, rejected)]
    found = {index: DropReason(REJECTED, REFUSED) for index in refused}
    rest = [index for index in gap if index not in found]
    reasons = [LOST_AFTER] * max(0, vain) + [SKIPPED] * max(0, dropped)
    reasons += [LOST_BEFORE] * len(rest)
    found.update({index: DropReason(DROPPED, reason) for index, reason in zip(rest, reasons, strict=False)})
    return found
