"""A real browser for pages: headless Chromium, without network and with a profile of its own."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_TIMEOUT_S = 60
_VOID_TAGS = {"meta", "img", "br", "link", "hr", "input"}
_MEASURE = """<script>
const wide = [...document.querySelectorAll("html, .scroll")].filter(each => each.scrollWidth > each.clientWidth);
const figures = wide.map(each => each.closest("figure") ?? each);
parent.document.body.append(JSON.stringify(figures.map(each => [each.className, each.querySelector("h3")?.innerText])));
</script>"""


def show(page: Path, folder: Path, width: int = 1200, height: int = 1600) -> npt.NDArray[np.uint8]:
    """Return what the top of a page looks like, (height, width, 3) uint8 RGB; skip where there is no Chromium."""
    import cv2

    picture = folder / "screenshot.png"
    _run(page, folder, f"--screenshot={picture}", f"--window-size={width},{height}", "--hide-scrollbars")
    return cv2.cvtColor(cv2.imread(str(picture)), cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def wider_than(width: int, page: Path, folder: Path) -> list[tuple[str, str | None]]:
    """Return class and title of what must be scrolled sideways in a window of so many pixels; skip without Chromium."""
    # The page itself allows no script.
    content = re.sub("<meta [^>]*Content-Security-Policy[^>]*>", "", page.read_text()) + _MEASURE
    # A window is at least 500 pixels wide; a frame may be narrower.
    frame = folder / f"{width}.html"
    frame.write_text(f'<iframe width="{width}" style="border: 0" srcdoc="{html.escape(content)}"></iframe>')
    return [(kind, title) for kind, title in json.loads(Document(_run(frame, folder, "--dump-dom")).text)]


def document(page: Path, folder: Path) -> Document:
    """Return the page as the browser understood it, after any script had its chance; skip without Chromium."""
    return Document(_run(page, folder, "--dump-dom"))


class Document(HTMLParser):
    """The tags and the text of HTML; fails on a tag that is closed out of turn or not at all.

    Attributes:
        tags: Names of all elements, in order.
        text: All that can be read, with blanks between elements.
        references: Values of src, href, data, action, srcset and poster.
        handlers: Names of attributes that hold scripts (onerror, ...).
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.references: list[str] = []
        self.handlers: list[str] = []
        self._texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)
        if tag not in _VOID_TAGS:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in ("style", "script"):
            self._texts.append(data)

    def _note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data", "action", "srcset", "poster"):
                self.references.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)


def _run(page: Path, folder: Path, *arguments: str) -> str:
    browser = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"needs a Chromium ({', '.join(_NAMES)}), for example apt-get install chromium")
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
    more = ("--disable-component-update", "--disable-sync", f"--user-data-dir={folder / 'profile'}")
    command = [browser, *flags, *more, *arguments, page.resolve().as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    return done.stdout
