"""Whoever names a topic, an encoding or a class cannot write into the terminal of whoever reads the log."""

from __future__ import annotations

import pytest

from erfnet_ros.core.printable_text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bayer_rggb8", "bayer_rggb8"),
        ("Straße, 道路", "Straße, 道路"),
        ("rgb8\n[ERROR] forged\r\t", r"rgb8\n[ERROR] forged\r\t"),
        ("\x1b[2J\x07\x9b", r"\x1b[2J\x07\x9b"),
        ("gpj.\u202efdp\u200f\u2066", r"gpj.\u202efdp\u200f\u2066"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
        ("\udc80\x00", r"\udc80\x00"),
        (7, "7"),
    ],
)
def test_what_a_terminal_would_obey_becomes_a_visible_escape(text: object, shown: str) -> None:
    assert printable(text) == shown


def test_a_long_text_is_cut_and_its_length_told() -> None:
    assert printable("x" * 5000, 10) == "xxxxxxxxxx... (5000 characters)"
    assert printable("x" * 10, 10) == "x" * 10
