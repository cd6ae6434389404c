"""Text from outside (file, topic and class names, encodings) made fit for a terminal and a log."""

from __future__ import annotations


def printable(text: object, limit: int = 80) -> str:
    """Return `text` as one line that cannot change what a terminal or a log shows around it.

    Line breaks, terminal escape sequences, invisible characters, right-to-left marks and undecodable bytes are shown
    as Python writes them in a string, such as `\\n`, `\\x1b` and `\\u202e`. What is longer than `limit` characters
    loses its middle, so that an error keeps the remedy at its end.
    """
    whole = str(text)
    tail = limit // 3
    if len(whole) > limit:
        # Cut before the escapes: a text of megabytes is not worth converting.
        whole = f"{whole[: limit - tail - 1]}…{whole[-tail:]}"
    if whole.isprintable():
        return whole
    line = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in whole
    )
    return line if len(line) <= limit else f"{line[: limit - tail - 1]}…{line[-tail:]}"
