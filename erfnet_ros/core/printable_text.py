"""Text from outside, such as a message's encoding or a file's class names, made fit for a log line."""

from __future__ import annotations


def printable(text: object, limit: int = 80) -> str:
    r"""Return a text on one line that a terminal shows as it is.

    Control characters and escape sequences, line breaks, and the marks that reverse the direction of writing become
    escapes such as \x1b, \n and \u202e.

    Args:
        text: Converted with `str`.
        limit: Most characters to keep; a longer text is cut, and its length appended.
    """
    whole = str(text)
    kept = whole[:limit]
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in kept)
    return shown if kept == whole else f"{shown}... ({len(whole)} characters)"
