"""Rates of cameras and replays, and refused ones."""

from __future__ import annotations

import pytest

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.core.rate import parse_rate


def test_a_rate_is_read() -> None:
    assert (parse_rate("15"), parse_rate("0.5")) == (15.0, 0.5)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1001", "fast", ""])
def test_a_rate_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match=f"above 0 and up to 1000 as --rate .* got '{text}'"):
        parse_rate(text)
