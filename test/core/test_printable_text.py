"""Text from outside: one line, without control characters for a terminal or a log."""

import pytest

from erfnet_ros.core.errors import BagError
from erfnet_ros.core.printable_text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/camera/image", "/camera/image"),
        ("Straße 路 é", "Straße 路 é"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("mono8\n[ERROR] forged", r"mono8\n[ERROR] forged"),
        ("a\r\x07\u2028b", r"a\r\x07\u2028b"),
        ("gpj\u202e.exe\u200b", r"gpj\u202e.exe\u200b"),
        (b"caf\xe9".decode(errors="surrogateescape"), r"caf\udce9"),
        (7, "7"),
    ],
)
def test_what_a_terminal_would_act_on_is_shown_as_an_escape(text: object, shown: str) -> None:
    assert printable(text) == shown
    printable(text).encode()


@pytest.mark.parametrize("text", ["b" * 10_000_000, "\x1b" * 10_000_000, "b" * 99 + "\x1b" * 99])
def test_long_text_loses_its_middle(text: str) -> None:
    shown = printable(text, 90)
    assert len(shown) == 90
    assert "…" in shown
    assert shown.isprintable()


def test_text_at_the_limit_stays_whole() -> None:
    assert printable("b" * 90, 90) == "b" * 90


def test_every_error_is_one_line_and_keeps_its_remedy() -> None:
    """A file name must not be able to forge a second log line."""
    error = BagError(f"Cannot read '{'x' * 100_000}\n\x1b[31mok'; record again.")
    assert str(error).isprintable()
    assert len(str(error)) <= 2000
    assert str(error).startswith("Cannot read 'xxx")
    assert str(error).endswith(r"\n\x1b[31mok'; record again.")
