"""Files of the installed package, or of the checkout that this code runs from."""

from __future__ import annotations

import os
from pathlib import Path

from erfnet_ros.core.errors import ErfnetError


def install_prefixes() -> list[Path]:
    """Return the folders that ROS packages are installed in, those of overlays first."""
    return [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]


def package_file(name: str) -> Path:
    """Return a file of the package's share folder, such as config/fastdds.xml.

    Raises:
        ErfnetError: Neither installation nor checkout has it.
    """
    folders = [prefix / "share" / "erfnet_ros" for prefix in install_prefixes()]
    folders.append(Path(__file__).resolve().parents[2])
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise ErfnetError(
        f"Expected '{name}' in {' or '.join(str(folder) for folder in folders)}, found none; "
        "build the package with colcon and source its setup file."
    )
