"""What is set for the whole process before PyTorch is loaded."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

UNTIL_TORCH = """
import os, runpy, sys

class Finder:
    def find_spec(self, name, *_):
        if name == "torch":
            print(os.environ.get("GOMP_SPINCOUNT"), flush=True)
            os._exit(0)

sys.meta_path.insert(0, Finder())
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("module", ["erfnet_ros.commands", "erfnet_ros.ros.node"])
@pytest.mark.parametrize(
    ("own", "found"), [({}, "1000"), ({"GOMP_SPINCOUNT": "5"}, "5"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")]
)
def test_pytorchs_threads_spin_only_where_the_user_says_so(module: str, own: dict[str, str], found: str) -> None:
    """On a busy machine a frame took ten times as long."""
    if module == "erfnet_ros.ros.node":
        pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    settings = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")
    inherited = {name: value for name, value in os.environ.items() if name not in settings}
    command = [sys.executable, "-c", UNTIL_TORCH, module, "segment", __file__, "-o", "out"]
    done = subprocess.run(command, env={**inherited, **own}, capture_output=True, text=True)
    assert done.stdout.split() == [found], done.stderr
