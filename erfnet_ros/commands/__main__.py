"""Entry point of the `erfnet` command, which handles interrupts from its first line to its last."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

_HINTS = {
    "evaluate-bag": "run the same command again to resume",
    "train": "add --resume to continue from the last saved state, if there is one",
}
"""How to go on after an interrupt, where the command does not start over."""

_INTERRUPTED = 130
"""Exit status after an interrupt."""

_EXIT_S = 2.0
"""A command ends so soon after an interrupt, even where native code or a thread holds it."""


def main() -> int:
    """Run the command of `sys.argv`; return its exit status. An interrupt ends the process with status 130."""
    # What a shell starts in the background ignores the signal, and goes on to do so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    # What OpenCV and FFmpeg write of a damaged file on their own; our message names the file.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "8")
    try:
        _limit_interrupts()
        from erfnet_ros.commands import cli
        from erfnet_ros.core.system_info import share_cores

        share_cores()
        status = cli.main()
        if status == _INTERRUPTED:
            _exit()
        return status
    except KeyboardInterrupt:
        _exit_interrupted()
    finally:
        # The results are written, or there is an error: Python only has to clean up.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, or end at once during an import: libraries turn it into other errors there."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            _exit_interrupted()
        frame = frame.f_back
    raise KeyboardInterrupt


def _limit_interrupts() -> None:
    """End the process `_EXIT_S` after SIGINT at the latest, unless the command handles the signal itself."""
    import threading
    import time

    # Python runs signal handlers in the main thread, between two instructions: not while native code computes.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def watch() -> None:
        while True:
            (number,) = os.read(reader, 1)
            if number == signal.SIGINT and signal.getsignal(number) in (_interrupt, signal.default_int_handler):
                time.sleep(_EXIT_S)
                _exit_interrupted()

    threading.Thread(target=watch, name="interrupts", daemon=True).start()


def _exit_interrupted() -> NoReturn:
    """Tell how to go on, and end the process without waiting for threads that still compute."""
    output_files = sys.modules.get("erfnet_ros.core.output_files")
    # The signal may have come while that module was imported.
    if output_files is not None and hasattr(output_files, "remove_temporary"):
        output_files.remove_temporary()
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    hint = _HINTS.get(name) if "--live" not in sys.argv else None
    print(f"erfnet {name}: interrupted; {hint or 'run the same command again to start over'}.", file=sys.stderr)
    _exit()


def _exit() -> NoReturn:
    """End the process at once: on a busy machine Python takes seconds to unload PyTorch."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    raise SystemExit(main())
