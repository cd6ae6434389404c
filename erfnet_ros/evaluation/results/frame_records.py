"""Records of a run's images: columns in JSON, one small object each in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

from erfnet_ros.core.config_schema import decode
from erfnet_ros.core.errors import EvaluationError

ANSWERED, DROPPED, REJECTED = "answered", "dropped", "rejected"
OUTCOMES = (ANSWERED, DROPPED, REJECTED)


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """One image.

    Attributes:
        bag: Index into `Result.bags`.
        stamp_ns: Of its header; where the bag's stamps are all zero, the bag's own time.
        outcome: answered, dropped or rejected.
        reason: Why it was dropped or rejected, for people; None where answered.
        latency_ms: Image published to mask received; None offline and without an answer.
        miou: Of this frame alone, 0..1; None without ground truth or answer.
        confidence: Mean confidence of its mask, 0..1; None without an answer or where it was not collected.
        changed: Share of pixels whose label is not that of the mask before, 0..1; None without a mask before.
    """

    bag: int
    index: int
    stamp_ns: int
    outcome: str
    reason: str | None = None
    latency_ms: float | None = None
    miou: float | None = None
    confidence: float | None = None
    changed: float | None = None


_COLUMNS: dict[str, Any] = {
    name: tuple[kind, ...]  # type: ignore[valid-type]
    for name, kind in get_type_hints(FrameRecord).items()
}


def to_columns(records: Sequence[FrameRecord]) -> dict[str, list[Any]]:
    """Return the records as one list per attribute, all of one length."""
    return {name: [getattr(record, name) for record in records] for name in _COLUMNS}


def from_columns(content: Any, where: str) -> tuple[FrameRecord, ...]:
    """Read what `to_columns` gave; unknown columns are left alone."""
    if not isinstance(content, dict):
        raise EvaluationError(f"Expected an object of columns as {where}, got {type(content).__name__}.")
    missing = [name for name in _COLUMNS if name not in content]
    if missing:
        raise EvaluationError(f"Expected the columns {', '.join(_COLUMNS)} in {where}, got no {', '.join(missing)}.")
    columns = [decode(kind, content[name], f"{where}.{name}") for name, kind in _COLUMNS.items()]
    if len({len(column) for column in columns}) > 1:
        raise EvaluationError(f"Expected columns of one length in {where}, got {[len(column) for column in columns]}.")
    records = tuple(FrameRecord(*row) for row in zip(*columns, strict=True))
    unknown = {record.outcome for record in records} - set(OUTCOMES)
    if unknown:
        raise EvaluationError(f"Expected outcomes {', '.join(OUTCOMES)} in {where}, got {', '.join(sorted(unknown))}.")
    return records
