"""Child processes: end with their parent, and tell why they ended."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest

from erfnet_ros.ros.harness.child_process import (
    ChildProcess,
    ProcessError,
    child_environment,
    keep_to_this_machine,
    node_command,
)
from erfnet_ros.ros.package_files import package_file
from erfnet_ros.ros.transport import PROFILE_VARIABLES

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
try:
    time.sleep(600)
except KeyboardInterrupt:
    pass
"""


class Lines:
    """Collect what a process writes."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._arrived = threading.Event()

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self._arrived.set()

    def first(self) -> str:
        assert self._arrived.wait(30)
        return self.lines[0]


def is_running(process: int) -> bool:
    try:
        return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_stopping_ends_what_the_process_itself_has_started() -> None:
    lines = Lines()
    with ChildProcess("sleeper", [sys.executable, "-c", STUBBORN], on_line=lines):
        grandchild = int(lines.first())
        assert is_running(grandchild)
    deadline = time.monotonic() + 10
    while is_running(grandchild) and time.monotonic() < deadline:
        os.sched_yield()
    assert not is_running(grandchild)


def test_a_process_that_ends_by_itself_is_reported_with_its_last_lines() -> None:
    program = "import sys; print('engine broke', file=sys.stderr); sys.exit(3)"
    lines = Lines()
    with ChildProcess("node", [sys.executable, "-c", program], on_line=lines) as child:
        lines.first()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(ProcessError) as caught:
            child.check_alive()
    assert str(caught.value) == "The node ended by itself (exit code 3). Its last lines:\n    engine broke"


def test_what_is_sent_arrives_and_what_is_written_is_logged(tmp_path: Path) -> None:
    lines = Lines()
    program = "print('got', input(), flush=True); input()"
    with ChildProcess("echo", [sys.executable, "-c", program], on_line=lines, log=tmp_path / "log") as child:
        child.send("hello")
        assert lines.first() == "got hello"
    assert (tmp_path / "log").read_text().startswith("got hello\n")


def test_children_set_up_the_wheels_library_path_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the mark inherited, a child in another environment would load the wrong libraries."""
    monkeypatch.setenv("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "1")
    assert "_ROS_WHEELS_BOOTSTRAP_COMPLETE" not in child_environment()


def test_the_installed_executable_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executable = tmp_path / "lib" / "erfnet_ros" / "segment"
    executable.parent.mkdir(parents=True)
    executable.touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/nowhere:{tmp_path}")
    assert node_command() == [sys.executable, str(executable)]
    monkeypatch.delenv("AMENT_PREFIX_PATH")
    assert node_command() == [sys.executable, "-m", "erfnet_ros.ros.node"]


def test_package_files_are_found_in_the_checkout_where_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    assert package_file("package.xml").parent == Path(__file__).resolve().parents[3]


def test_a_domain_in_which_another_node_runs_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both nodes would answer both cameras."""
    rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")
    from rclpy.context import Context

    for name in ("ROS_DOMAIN_ID", "ROS_LOCALHOST_ONLY", "ROS_AUTOMATIC_DISCOVERY_RANGE", *PROFILE_VARIABLES):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.delenv("ROS_DOMAIN_ID")
    keep_to_this_machine()
    taken = os.environ.pop("ROS_DOMAIN_ID")
    context = Context()
    rclpy.init(context=context, domain_id=int(taken))
    other = rclpy.create_node("other", context=context)
    keep_to_this_machine()
    other.destroy_node()
    rclpy.shutdown(context=context)
    assert os.environ["ROS_DOMAIN_ID"] != taken
