"""Text of numbers; an unknown one is a dash, never NaN."""

from __future__ import annotations

import math

UNKNOWN = "\u2013"
_MINUS = "\u2212"


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share 0..1 as `71.3 %`."""
    return UNKNOWN if share is None or math.isnan(share) else f"{100 * share:.{digits}f} %"


def points(difference: float | None) -> str:
    """Return the difference of two shares in percentage points, with its sign: `+1.2 points`."""
    return UNKNOWN if difference is None else f"{signed_number(100 * difference, 1)} points"


def milliseconds(value_ms: float | None) -> str:
    """Return a time as `41.2 ms`, or from a second on as `1.25 s`."""
    if value_ms is None or math.isnan(value_ms):
        return UNKNOWN
    if abs(value_ms) >= 1000:
        return f"{value_ms / 1000:.2f} s"
    return f"{value_ms:.1f} ms" if abs(value_ms) < 100 else f"{value_ms:.0f} ms"


def signed_milliseconds(difference_ms: float) -> str:
    """Return the difference of two times with its sign."""
    return f"{'+' if difference_ms > 0 else ''}{milliseconds(difference_ms)}".replace("-", _MINUS)


def number(value: float | int | None, digits: int = 1) -> str:
    """Return a number with thin spaces between thousands."""
    if value is None or math.isnan(value):
        return UNKNOWN
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"
    return text.replace(",", "\u202f")


def duration(seconds: float | None) -> str:
    """Return a duration as `3 h 12 min`, `22 min`, `4 min 05 s` or `12.3 s`."""
    if seconds is None:
        return UNKNOWN
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 10:
        return f"{minutes} min {rest:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def signed_number(difference: float, digits: int = 1) -> str:
    """Return a difference with its sign."""
    text = f"{difference:+.{digits}f}"
    return f"±{text[1:]}" if float(text) == 0 else text.replace("-", _MINUS)
