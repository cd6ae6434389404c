"""Build cache for compiled inference engines, graphs, measurements and whatever else takes long to make.

Each file has a description of the same name, a JSON object with the key that it was built for, facts and its SHA-256.
Only a file that agrees with its description is used: what is truncated, damaged or of another key is built again. The
description is written last and in one step, so a builder that is killed leaves nothing that would be used.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from erfnet_ros.core.errors import EngineError

log = logging.getLogger(__name__)

Key = Mapping[str, str | int | float | None]
Build = Callable[[Path], Mapping[str, Any]]
Facts = Mapping[str, Any]

VARIABLE = "ERFNET_ROS_CACHE"
"""Environment variable that names the cache folder."""

KEPT = 20
"""How many files of a kind stay: the most recently used."""

_DESCRIPTION = ".facts.json"
_FULL = {errno.EDQUOT, errno.EFBIG, errno.ENOSPC}

_temporary: tempfile.TemporaryDirectory[str] | None = None


@dataclass(frozen=True)
class Artifact:
    """What was built, now or before.

    Attributes:
        path: The file; where the builder wrote none, only the facts are kept.
        facts: What the builder returned, as JSON gives it back.
        built: Whether it was built by this call.
        notes: Faults of the cache that the user should know of, a sentence each.
    """

    path: Path
    facts: Facts
    built: bool
    notes: tuple[str, ...]


class _BuilderError(Exception):
    """A builder failed, and would fail in any other folder as well; its error is the cause."""


class _DamagedError(Exception):
    """A file does not agree with its description, or has none; the message is the end of a sentence about it."""


def cache_folder() -> Path:
    """Return $ERFNET_ROS_CACHE, else $XDG_CACHE_HOME/erfnet_ros, else ~/.cache/erfnet_ros; it need not exist."""
    if own := os.environ.get(VARIABLE):
        return Path(os.path.abspath(os.path.expanduser(own)))
    shared = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG Base Directory Specification has relative paths ignored.
    if os.path.isabs(shared):
        return Path(shared) / "erfnet_ros"
    home = os.path.expanduser("~")
    # A user without a home, as in a container, has "/", which `Cache.artifact` will find that it cannot write.
    return Path(home if os.path.isabs(home) else "/") / ".cache" / "erfnet_ros"


class Cache:
    """A folder of artifacts, shared by any number of processes.

    Args:
        folder: Where they lie, or None for `cache_folder`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = cache_folder() if folder is None else folder
        self._refused: set[Path] = set()

    def artifact(self, kind: str, key: Key, suffix: str, build: Build) -> Artifact:
        """Return the file of a key, built where there is none that is whole.

        Of several processes that want files of one kind at once, one builds and the others wait. Where the folder
        cannot be written, or its disk is full, the file is built into a temporary folder that ends with this process.

        Args:
            kind: What kind of file it is, such as "tensorrt": letters, digits and dashes.
            key: All that the content depends on; another key is another file.
            suffix: How the file's name ends, such as "engine".
            build: Writes the file at the path that it is given, which ends in the suffix, and returns facts that JSON
                can hold; a builder that writes no file has only its facts kept. Its exceptions are raised here, and
                leave no file.

        Raises:
            EngineError: Neither the folder nor a temporary one can be written.
        """
        path = self._path(kind, key, suffix)
        try:
            if path in self._refused:
                return self._in_temporary_folder(path.name, key, build, "a bad file in it cannot be removed")
            try:
                return _artifact(path, key, build)
            except OSError as error:
                return self._in_temporary_folder(path.name, key, build, str(error.strerror))
        except _BuilderError as failure:
            raise (failure.__cause__ or failure) from None

    def holds(self, kind: str, key: Key, suffix: str) -> bool:
        """Tell whether the file of a key is there and whole, so that `artifact` would build nothing."""
        with suppress(OSError, _DamagedError):
            return _read(self._path(kind, key, suffix), key) is not None
        return False

    def discard(self, artifact: Artifact) -> None:
        """Remove what turned out bad when it was loaded; the next call builds it again, elsewhere if need be."""
        try:
            _description(artifact.path).unlink(missing_ok=True)
            artifact.path.unlink(missing_ok=True)
        except OSError:
            self._refused.add(artifact.path)

    def _path(self, kind: str, key: Key, suffix: str) -> Path:
        digest = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()[:16]
        return self.folder / f"{kind}-{digest}.{suffix.removeprefix('.')}"

    def _in_temporary_folder(self, name: str, key: Key, build: Build, why: str) -> Artifact:
        note = (
            f"The cache folder {self.folder} cannot be used ({why}), so what is built lasts for this run only; make "
            f"room or give rights there, or name another folder: {VARIABLE}=FOLDER."
        )
        try:
            artifact = _artifact(_temporary_folder() / name, key, build)
        except OSError as error:
            raise EngineError(
                f"Expected room for {name} in {self.folder} ({why}) or in {tempfile.gettempdir()} ({error.strerror}), "
                f"got none in either; make room, or name another folder: {VARIABLE}=FOLDER."
            ) from error
        return Artifact(artifact.path, artifact.facts, artifact.built, (note, *artifact.notes))


def _artifact(path: Path, key: Key, build: Build) -> Artifact:
    """Return a file that is whole, built if need be.

    Raises:
        OSError: The folder cannot be written, or is full.
        _BuilderError: The builder failed.
    """
    # Without the lock first: a folder that may only be read still serves.
    with suppress(_DamagedError):
        if (facts := _read(path, key)) is not None:
            return Artifact(path, facts, False, ())
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    notes: tuple[str, ...] = ()
    with _lock(path):
        try:
            # Another process may have built it meanwhile.
            if (facts := _read(path, key)) is not None:
                return Artifact(path, facts, False, ())
        except _DamagedError as damage:
            notes = (f"{path} {damage}, so it was built again.",)
        facts = _build(path, key, build)
        _remove_old(path)
    return Artifact(path, facts, True, notes)


def _read(path: Path, key: Key) -> Facts | None:
    """Return the facts of a file that agrees with its description, and mark it as used; None where there is nothing.

    Raises:
        OSError: It may not be read.
        _DamagedError: File and description do not agree.
    """
    try:
        described = json.loads(_description(path).read_bytes())
        found, facts, sha256 = described["key"], dict(described["facts"]), described["sha256"]
    except (FileNotFoundError, NotADirectoryError):
        if path.exists():
            raise _DamagedError("had no description") from None
        return None
    except (KeyError, TypeError, ValueError, RecursionError):
        raise _DamagedError("had a damaged description") from None
    if found != dict(key):
        raise _DamagedError("was made for another key")
    if sha256 != _sha256(path):
        raise _DamagedError("was missing, truncated or damaged")
    with suppress(OSError):
        os.utime(_description(path))
    return facts


def _build(path: Path, key: Key, build: Build) -> Facts:
    """Build a file under another name, describe it, and put both in place; the lock is held."""
    for left in path.parent.glob(f"{path.stem}.partial-*"):
        # From a builder that was killed.
        left.unlink(missing_ok=True)
    partial = path.with_name(f"{path.stem}.partial-{os.getpid()}{path.suffix}")
    description = _description(partial)
    try:
        facts = _built(partial, build)
        content = {"key": dict(key), "facts": facts, "sha256": _sha256(partial)}
        description.write_text(json.dumps(content, indent=1) + "\n")
        _description(path).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        if partial.exists():
            os.replace(partial, path)
        os.replace(description, _description(path))
        return facts
    finally:
        for file in (partial, description):
            with suppress(OSError):
                file.unlink()


def _built(path: Path, build: Build) -> Facts:
    """Run a builder; a full disk is recognized behind whatever exception it led to.

    Raises:
        OSError: The disk is full.
        _BuilderError: It failed for another reason.
    """
    try:
        facts: Facts = json.loads(json.dumps(dict(build(path))))
        return facts
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, OSError) and cause.errno in _FULL:
                raise OSError(cause.errno, cause.strerror) from error
            cause = cause.__cause__ or cause.__context__
        raise _BuilderError from error


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the lock of a kind of files, which the kernel releases when its holder ends, however it ends."""
    lock = FileLock(path.with_name(f"{_kind(path)}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("Another process builds %s; waiting for it.", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _kind(path: Path) -> str:
    return path.name.partition(".")[0].rpartition("-")[0]


def _remove_old(path: Path) -> None:
    """Remove all but the most recently used files of the same kind."""
    name = re.compile(rf"{re.escape(_kind(path))}-[0-9a-f]{{16}}\.[^.]+{re.escape(_DESCRIPTION)}")
    used: list[tuple[float, Path]] = []
    for description in path.parent.iterdir():
        if name.fullmatch(description.name):
            with suppress(OSError):
                used.append((description.stat().st_mtime, description))
    for _, description in sorted(used, reverse=True)[KEPT:]:
        with suppress(OSError):
            description.unlink()
            description.with_name(description.name.removesuffix(_DESCRIPTION)).unlink()


def _description(path: Path) -> Path:
    return path.with_name(path.name + _DESCRIPTION)


def _sha256(path: Path) -> str | None:
    """Return the hash of a file, or None where there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def _temporary_folder() -> Path:
    """Return a folder that is removed when this process ends."""
    global _temporary
    if _temporary is None:
        _temporary = tempfile.TemporaryDirectory(prefix="erfnet_ros-", ignore_cleanup_errors=True)
    return Path(_temporary.name)
