"""Input sizes of the network as the node and the commands read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.core.image_size import MAX_SIDE, MIN_SIDE, check_input_size, parse_input_size

sides = st.integers(MIN_SIDE, MAX_SIDE)


def test_auto_leaves_the_choice_to_the_pipeline() -> None:
    assert parse_input_size("auto") is None


@given(sides, sides)
def test_a_written_size_is_read_back_width_first(width: int, height: int) -> None:
    assert parse_input_size(f"{width}x{height}") == (width, height)


@given(st.integers(0, 999_999).filter(lambda side: not MIN_SIDE <= side <= MAX_SIDE), sides)
def test_a_side_out_of_range_is_refused_with_the_value(wrong: int, right: int) -> None:
    for width, height in ((wrong, right), (right, wrong)):
        with pytest.raises(ParameterError, match=rf"8 to 4096 pixels per side, got {width}x{height}\."):
            parse_input_size(f"{width}x{height}")
        with pytest.raises(ParameterError, match=rf"got {width}x{height}\."):
            check_input_size(width, height)


@pytest.mark.parametrize(
    "text",
    ["", "0", "640", "640*360", "640X360", "640x", "x360", "-640x360", "640x360x3", " 640x360", "640x360\n", "Auto"],
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ParameterError, match="WIDTHxHEIGHT such as 640x360, got") as error:
        parse_input_size(text)
    # Line breaks are shown as escapes.
    assert f"got '{text.encode('unicode_escape').decode()}'" in str(error.value)
