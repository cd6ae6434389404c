"""Messages on the troubleshooting page, compared with the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAID = {
    node.value
    for folder in ("erfnet_ros", "launch")
    for path in (ROOT / folder).rglob("*.py")
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
}
"""Every string of the code; of those with placeholders, each part between two."""

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
MESSAGES = re.findall(r"^\| (`.+?`) \|", PAGE.split("## ")[1], re.M)


@pytest.mark.parametrize("message", MESSAGES)
def test_an_explained_message_is_one_that_the_code_says(message: str) -> None:
    fragments = [part for quoted in re.findall("`([^`]+)`", message) for part in quoted.split("…") if part]
    assert [part for part in fragments if not any(part in text for text in SAID)] == []
