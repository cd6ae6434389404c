"""Rate of a camera or of a replay, as `--rate` gives it."""

from __future__ import annotations

from erfnet_ros.core.errors import ParameterError

_MAX_RATE = 1000.0


def parse_rate(text: str) -> float:
    """Return a rate above 0 and up to 1000: Hz of a camera, or replay speed where 1 is that of the recording."""
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= _MAX_RATE:
        raise ParameterError(
            f"Expected a number above 0 and up to {_MAX_RATE:g} as --rate (a camera's in Hz; a replay at 1 is as fast "
            f"as the recording), got '{text}'."
        )
    return rate
