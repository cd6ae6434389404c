"""`make licenses`: packages that a company has to look at before it ships the environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "tools" / "licenses.py"


def test_copyleft_and_unknown_licenses_are_named(tmp_path: Path) -> None:
    packages = {
        "free": "License-Expression: Apache-2.0",
        "lesser": "Classifier: License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)",
        "old": "License: MIT License\n  and its whole text",
        "silent": "Summary: says nothing",
        "vague": "License: UNKNOWN",
    }
    for name, line in packages.items():
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{line}\n")
    done = subprocess.run([sys.executable, SCRIPT, tmp_path], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["free", "1.0", "Apache-2.0"]
    assert lines[2].split() == ["old", "1.0", "MIT", "License"]
    assert lines[-3:] == ["copyleft: lesser 1.0", "", "unknown: silent 1.0, vague 1.0"]
