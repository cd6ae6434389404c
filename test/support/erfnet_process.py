"""`erfnet` commands as processes, with all that they start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 240


class ErfnetProcess:
    """A command whose descendants can be told from all others by a variable in their environment.

    Args:
        arguments: Of `erfnet`.
        environment: Variables besides those of this process.
        in_background: Whether the command inherits that it ignores SIGINT, as what a shell starts with & does.
    """

    def __init__(
        self, *arguments: str, environment: Mapping[str, str] | None = None, in_background: bool = False
    ) -> None:
        self._mark = f"ERFNET_TEST_RUN={uuid.uuid4()}"
        name, value = self._mark.split("=")
        left_out = ("ROS_DOMAIN_ID", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")
        inherited = {key: text for key, text in os.environ.items() if key not in left_out}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "erfnet_ros.commands", *arguments],
            cwd=ROOT,
            env={**inherited, **(environment or {}), name: value},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=_ignore_interrupts if in_background else None,
        )

    def finish(self) -> tuple[int, str]:
        """Return exit status and what was written."""
        output = self.process.communicate(timeout=TIMEOUT_S)[0]
        return self.process.returncode, output

    def wait_for(self, text: str) -> None:
        """Read until a line holds `text`."""
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            if text in line:
                return
            lines.append(line)
        pytest.fail(f"the command ended without saying '{text}':\n{''.join(lines)}")

    def running(self, word: str = "") -> list[int]:
        """Return the ids of this command's processes whose command line holds `word`."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environment, command = (folder / "environ").read_bytes(), (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if self._mark.encode() in environment and word.encode() in command:
                found.append(int(folder.name))
        return found

    def node(self) -> int:
        """Return the id of the segmentation node that the command has started."""
        (node,) = self.running("/segment\0") or self.running("erfnet_ros.ros.node\0")
        return node

    def assert_nothing_is_left(self) -> None:
        """Fail where a process of this command outlives it."""
        deadline = time.monotonic() + 10
        while self.running() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert self.running() == []

    def end(self) -> None:
        """End what a failing test leaves behind."""
        for process in self.running():
            os.kill(process, signal.SIGKILL)
        self.process.wait()


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
