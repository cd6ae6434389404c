"""Licenses of the installed Python packages: `make licenses`.

Usage: python tools/licenses.py [FOLDER ...]    folders of packages; those of this interpreter by default
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

UNKNOWN = "unknown"
_COPYLEFT = re.compile(
    r"\b(A|L)?GPL|\bGNU\b|\bMPL|Mozilla|\bEUPL|\bCDDL|\bEPL|Eclipse Public|Affero|Lesser General", re.I
)
_LONGEST = 60


def license_of(package: metadata.Distribution) -> str:
    """Return a package's license: its SPDX expression, else its classifiers, its text, or the manifest of ROS."""
    metadata = package.metadata
    named = [
        entry.rpartition(" :: ")[2] for entry in metadata.get_all("Classifier", []) if entry.startswith("License ::")
    ]
    told = metadata.get("License-Expression") or " AND ".join(named) or (metadata.get("License") or "").strip()
    manifest = Path(sys.prefix, "share", package.name.removeprefix("ros-").replace("-", "_"), "package.xml")
    if not told and manifest.is_file():
        told = " AND ".join(re.findall(r"<license[^>]*>([^<]*)</license>", manifest.read_text(encoding="utf-8")))
    first = told.partition("\n")[0].strip()[:_LONGEST]
    return first if first and first.upper() not in ("UNKNOWN", "OSI APPROVED", "DUAL LICENSE") else UNKNOWN


def main(folders: list[str]) -> int:
    """Print each package with its license, then those that are copyleft or unknown."""
    found = metadata.distributions(path=folders) if folders else metadata.distributions()
    licenses = {f"{package.name} {package.version}": license_of(package) for package in found}
    width = max(map(len, licenses), default=0)
    for name in sorted(licenses, key=str.lower):
        print(f"{name:<{width}}  {licenses[name]}")
    for kind, fits in (("copyleft", _COPYLEFT.search), (UNKNOWN, lambda text: text == UNKNOWN)):
        names = sorted(name for name, text in licenses.items() if fits(text))
        print(f"\n{kind}: {', '.join(names) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
