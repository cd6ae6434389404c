"""Point the CMake files of the ROS 2 wheels in this environment at its own Python and NumPy headers.

The wheels name the include folders of the machine that built them, which stops `find_package(rosidl_generator_py)`.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

import numpy as np

NUMPY_FOLDER = re.compile(r"/opt/python/[^;\"\s]*?/numpy/_?core/include")
PYTHON_FOLDER = re.compile(r"/opt/python/[^;\"\s]*?/include/python3\.\d+")


def main() -> None:
    """Rewrite every CMake file below share/ that names a foreign folder."""
    share = Path(sys.prefix) / "share"
    python_include, numpy_include = sysconfig.get_paths()["include"], np.get_include()
    for path in share.rglob("*.cmake"):
        old = path.read_text()
        new = NUMPY_FOLDER.sub(lambda _: numpy_include, old)
        new = PYTHON_FOLDER.sub(lambda _: python_include, new)
        if new != old:
            path.write_text(new)


if __name__ == "__main__":
    main()
