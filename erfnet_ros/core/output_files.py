"""Output folders locked against a second run, and files that are complete or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from erfnet_ros.core.errors import OutputError, ParameterError

LOCK = ".lock"


@contextmanager
def locked_output_folder(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Create a folder where it is missing, and lock it until the block ends.

    The operating system holds the lock: it ends with the process, even with a killed one. Runs with other names of
    the lock may share the folder.

    Raises:
        ParameterError: The folder cannot be written to, or another run writes into it.
    """
    # Only commands that write a folder need it: importing it takes 30 ms.
    from filelock import FileLock, Timeout

    lock = FileLock(folder / name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise ParameterError(
            f"Expected an output folder that no other run uses, got '{folder}', into which another process writes; "
            "wait for its end, or choose another folder."
        ) from None
    except OSError as error:
        raise ParameterError(
            f"Expected an output folder that can be written to, got '{folder}': {error.strerror}; choose another."
        ) from error
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


@contextmanager
def atomic_output(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, which replaces it where the block ends without an error."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink()


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file, a text in UTF-8; it is complete or not there."""
    try:
        with atomic_output(path) as partial:
            partial.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise OutputError(
            f"Cannot write '{path}': {error.strerror}; free some space, or choose another folder."
        ) from error
