"""Output folders locked against a second run, and files that are complete or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from erfnet_ros.core.errors import OutputError, ParameterError

LOCK = ".lock"

_temporary: set[Path] = set()


@contextmanager
def removed_afterwards(path: Path) -> Iterator[Path]:
    """Remove a file or folder when the block ends, or the process is ended by an interrupt."""
    _temporary.add(path)
    try:
        yield path
    finally:
        _remove(path)
        _temporary.discard(path)


def remove_temporary() -> None:
    """Remove what blocks of `removed_afterwards` have not removed yet: the process ends without leaving them."""
    for path in tuple(_temporary):
        _remove(path)


def _remove(path: Path) -> None:
    # Nearly always a file, or gone.
    try:
        path.unlink(missing_ok=True)
    except IsADirectoryError:
        shutil.rmtree(path, ignore_errors=True)
    except OSError:
        pass


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
        with removed_afterwards(folder / name):
            yield
    finally:
        lock.release()


@contextmanager
def temporary_folder(parent: Path, prefix: str, suffix: str = "") -> Iterator[Path]:
    """Make a folder below `parent`, and remove it when the block ends."""
    with removed_afterwards(Path(tempfile.mkdtemp(suffix, prefix, parent))) as folder:
        yield folder


@contextmanager
def atomic_output(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, which replaces it where the block ends without an error."""
    with removed_afterwards(path.with_name(f"{path.name}.{os.getpid()}.partial")) as partial:
        yield partial
        os.replace(partial, path)


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file, a text in UTF-8; it is complete or not there."""
    try:
        with atomic_output(path) as partial:
            partial.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise OutputError(
            f"Cannot write '{path}': {error.strerror}; free some space, or choose another folder."
        ) from error
