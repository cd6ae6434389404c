"""Child processes of demo, live evaluation and benchmark, which never outlive the program that starts them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, TypeVar, cast

from erfnet_ros.core.errors import ErfnetError
from erfnet_ros.core.printable_text import printable
from erfnet_ros.ros.package_files import install_prefixes, package_file
from erfnet_ros.ros.transport import profile_settings

_TAIL_LINES = 12
_LONGEST_LINE = 1000
_STOP_STEPS = ((signal.SIGINT, 10.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0))
_HURRIED_STOP_STEPS = ((signal.SIGINT, 0.7), (signal.SIGKILL, 2.0))
"""Signal and the seconds that it has to work."""

_PR_SET_PDEATHSIG = 1
"""Option number of prctl(2): the signal that the kernel sends when the parent is gone."""

_libc = ctypes.CDLL(None)


_Child = TypeVar("_Child", bound="ChildProcess")


class ProcessError(ErfnetError):
    """A process that was started died, or did not do its part in time; its last lines follow the message."""

    def __init__(self, message: str) -> None:
        super().__init__()
        self.args = ("\n".join(printable(line, _LONGEST_LINE) for line in message.split("\n")),)


class ChildProcess:
    """A running command in a process group of its own, which ends with this one, whatever ends this one.

    Args:
        name: What to call it in messages.
        command: Program and arguments.
        environment: Variables of the child; None takes this process's, as `child_environment` leaves them.
        on_line: Called on a thread with each line that the child writes to standard output or error.
        log: File that gets these lines as well.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
        log: Path | None = None,
    ) -> None:
        self.name = name
        self._on_line = on_line
        self._log = log
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._process = subprocess.Popen(
            command,
            env=dict(child_environment() if environment is None else environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            # Ends the child where this process is gone, be it by SIGKILL.
            preexec_fn=partial(_libc.prctl, _PR_SET_PDEATHSIG, signal.SIGTERM),
        )
        self._stdin, stdout = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)
        self._reader = threading.Thread(target=self._read, args=(stdout,), name=f"{name} output", daemon=True)
        self._reader.start()

    def __enter__(self: _Child) -> _Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Whoever interrupts a program does not want to wait for what it has started.
        self.stop(_STOP_STEPS if kind is None or issubclass(kind, Exception) else _HURRIED_STOP_STEPS)

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its group."""
        return self._process.pid

    def check_alive(self) -> None:
        """Raise where the process has ended.

        Raises:
            ProcessError: It has; the message holds its last lines.
        """
        code = self._process.poll()
        if code is not None:
            self._reader.join(2)
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            raise ProcessError(self.with_tail(f"The {self.name} ended by itself ({how})."))

    def with_tail(self, message: str) -> str:
        """Return `message` followed by the last lines that the process wrote."""
        if not self._tail:
            return f"{message} It wrote nothing."
        return "\n".join([f"{message} Its last lines:", *(f"    {line}" for line in self._tail)])

    def send(self, line: str) -> None:
        """Write a line to the process's standard input.

        Raises:
            ProcessError: The process has ended.
        """
        try:
            self._stdin.write(line + "\n")
            self._stdin.flush()
        except BrokenPipeError:
            self._process.wait(5)
            self.check_alive()

    def stop(self, steps: Sequence[tuple[signal.Signals, float]] = _STOP_STEPS) -> None:
        """End the process and all that it started; idempotent."""
        for number, patience_s in steps:
            if self._process.poll() is not None:
                break
            _signal_group(self.pid, number)
            try:
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue
        _signal_group(self.pid, signal.SIGKILL)
        self._reader.join(2)
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()

    def _read(self, stdout: IO[str]) -> None:
        with stdout, self._log.open("w") if self._log else contextlib.nullcontext() as log:
            for text in stdout:
                line = text.rstrip("\n")
                self._tail.append(line)
                if log:
                    print(line, file=log, flush=True)
                if self._on_line:
                    self._on_line(line)


def child_environment() -> dict[str, str]:
    """Return this process's variables without the mark by which the ROS wheels skip setting up the library path."""
    return {name: value for name, value in os.environ.items() if name != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}


def keep_to_this_machine() -> None:
    """Set up discovery and transport for a run of its own; whatever the user has set stays.

    Must be called before rclpy.init, which reads these variables.
    """
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    if os.environ.get("ROS_DISTRO") == "humble":
        # Humble does not know the range yet; later distributions warn of this variable.
        os.environ.setdefault("ROS_LOCALHOST_ONLY", "1")
    if "ROS_DOMAIN_ID" not in os.environ:
        os.environ["ROS_DOMAIN_ID"] = str(_free_domain())
    use_package_transport()


def _free_domain() -> int:
    """Return a domain in which no participant of this machine is, or any where all are taken."""
    # Above 101 the ports that a domain uses collide with those that Linux hands out.
    domains = [1 + (os.getpid() + place) % 101 for place in range(101)]
    return next((domain for domain in domains if _is_free(domain)), domains[0])


def _is_free(domain: int) -> bool:
    # DDSI-RTPS 2.5, 9.6.2.3: discovery uses port 7400 + 250 * domain, and participant N the port 10 + 2 * N above. The
    # first participant need not have N = 0, where another process was trying the port just then.
    first = 7400 + 250 * domain
    for port in (first, first + 10, first + 12, first + 14):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                return False
    return True


def use_package_transport() -> None:
    """Let this process and those that it starts use the package's profile for large images, unless the user has one."""
    os.environ.update(profile_settings(package_file("config/fastdds.xml")))


def node_command() -> list[str]:
    """Return the command of the segmentation node: the installed executable, else this interpreter's module."""
    for prefix in install_prefixes():
        executable = prefix / "lib/erfnet_ros/segment"
        if executable.is_file():
            return [sys.executable, str(executable)]
    return [sys.executable, "-m", "erfnet_ros.ros.node"]


def exit_on_signals() -> None:
    """Make SIGTERM and SIGHUP unwind the program like an exception, so that everything is stopped on the way."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
