"""Build cache for compiled inference engines, graphs, measurements and whatever else takes long to make.

Each file has a description of the same name, a JSON object with the key it was built for, metadata and its SHA-256.
Only a file that agrees with its description is used: what is truncated, damaged or of another key is built again.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from erfnet_ros.core.errors import EngineError
from erfnet_ros.core.output_files import atomic_output

log = logging.getLogger(__name__)

Key = Mapping[str, str | int | float | None]
Build = Callable[[Path], Mapping[str, Any]]
Metadata = Mapping[str, Any]

VARIABLE = "ERFNET_ROS_CACHE"
"""Environment variable that names the cache folder."""

KEPT = 20
"""How many files of a kind stay: the most recently used."""

_DESCRIPTION = ".metadata.json"

_MODE = 0o644
"""Only the owner writes, whatever the umask."""


@dataclass(frozen=True)
class Artifact:
    """A file that was built, now (`built`) or before.

    Attributes:
        path: The file; where the builder wrote none, only the metadata is kept.
        metadata: What the builder returned, as JSON gives it back.
        notes: Faults of the cache that the user should know of, a sentence each.
    """

    path: Path
    metadata: Metadata
    built: bool
    notes: tuple[str, ...]


_temporary: dict[Path, Artifact] = {}
"""What this process built and a cache folder does not hold, by its path there."""


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
    """A folder of artifacts, `cache_folder` by default, shared by any number of processes."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = cache_folder() if folder is None else folder
        self._refused: set[Path] = set()

    def artifact(self, kind: str, key: Key, suffix: str, *, build: Build) -> Artifact:
        """Return the file of a key, built where there is none that is whole.

        Of several processes that want files of one kind at once, one builds and the others wait. What the folder does
        not hold, because it cannot be written or its disk is full, stays in a temporary folder until this process ends.

        Args:
            kind: What kind of file it is, such as "tensorrt": letters, digits and dashes.
            key: All that the content depends on; another key is another file.
            suffix: How the file's name ends, such as "engine".
            build: Writes the file at a path and returns metadata that JSON can hold; a builder that writes no file
                has only its metadata kept. Its exceptions are raised here, and leave no file.

        Raises:
            EngineError: The disk of the temporary folder, where files are built, is full.
        """
        path = self._path(kind, key, suffix)
        # Without the lock first: a folder that may only be read still serves.
        if found := self._found(path, key):
            return found
        unusable: OSError | None = None
        lock: AbstractContextManager[object] = nullcontext()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _check_owner(path.parent)
            lock = _locked(path, kind)
        except OSError as error:
            unusable = error
        with lock:
            # Another process may have built it meanwhile.
            if found := self._found(path, key):
                return found
            bad = os.path.exists(path) or os.path.exists(_description(path))
            causes = "damaged, made for another key, or open to changes by other users"
            notes = (f"{path} was {causes}, so it was built again.",) if bad else ()
            built, metadata = _built(path.name, build)
            try:
                if unusable:
                    raise unusable
                _store(built, path, {"key": dict(key), "metadata": metadata, "sha256": _sha256(built)})
            except OSError as error:
                note = (
                    f"The cache folder {self.folder} cannot be used ({error.strerror}), so what is built lasts for "
                    f"this run only; make room or give rights there, or name another folder: {VARIABLE}=FOLDER."
                )
                _temporary[path] = Artifact(built, metadata, True, (note, *notes))
                return _temporary[path]
            _remove_old(path, kind)
        return Artifact(path, metadata, True, notes)

    def holds(self, kind: str, key: Key, suffix: str) -> bool:
        """Tell whether the file of a key is there and whole, so that `artifact` would build nothing."""
        return self._found(self._path(kind, key, suffix), key) is not None

    def discard(self, artifact: Artifact) -> None:
        """Remove what turned out bad when it was loaded; the next call builds it again, elsewhere if need be."""
        _temporary.pop(self.folder / artifact.path.name, None)
        try:
            _description(artifact.path).unlink(missing_ok=True)
            artifact.path.unlink(missing_ok=True)
        except OSError:
            self._refused.add(artifact.path)

    def _path(self, kind: str, key: Key, suffix: str) -> Path:
        digest = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()[:16]
        return self.folder / f"{kind}-{digest}.{suffix}"

    def _found(self, path: Path, key: Key) -> Artifact | None:
        """Return the file that is there if it agrees with its description, and mark it as used."""
        if path in _temporary:
            return replace(_temporary[path], built=False)
        if path in self._refused:
            return None
        try:
            for entry in (self.folder, path, _description(path)):
                _check_owner(entry)
            described = json.loads(_description(path).read_bytes())
            whole = described["key"] == dict(key) and described["sha256"] == _sha256(path)
            metadata = dict(described["metadata"])
        except (OSError, KeyError, TypeError, ValueError, RecursionError):
            return None
        with suppress(OSError):
            os.utime(_description(path))
        return Artifact(path, metadata, False, ()) if whole else None


def _check_owner(path: Path) -> None:
    """Raise PermissionError where another user than this one and root could have put what is there.

    An engine from the cache runs as code, and its checksum lies next to it.
    """
    with suppress(FileNotFoundError):
        status = path.stat()
        if status.st_uid not in (0, os.geteuid()):
            raise PermissionError(errno.EPERM, f"{path.name} belongs to another user, number {status.st_uid}")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(errno.EPERM, f"other users may write {path.name}: chmod go-w")


def _locked(path: Path, kind: str) -> AbstractContextManager[object]:
    """Lock a kind of files for the block; the kernel ends the lock when its holder ends, however it ends."""
    lock = FileLock(path.with_name(f"{kind}.lock"))
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        log.info("Another process builds %s; waiting for it.", path)
        return lock.acquire()


def _built(name: str, build: Build) -> tuple[Path, Metadata]:
    """Run a builder in the temporary folder; return its file and its metadata."""
    try:
        path = Path(_temporary_folder().name) / name
        return path, json.loads(json.dumps(dict(build(path))))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise EngineError(
            f"Expected room to build {name} in {tempfile.gettempdir()}, got: {error.strerror}; make room there, or "
            "name another folder for temporary files: TMPDIR=FOLDER."
        ) from error


@functools.cache
def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="erfnet_ros-", ignore_cleanup_errors=True)


def _store(built: Path, path: Path, description: Mapping[str, Any]) -> None:
    """Put a built file and its description in place, each complete or not there; the lock is held."""
    if built.exists():
        with atomic_output(path) as partial:
            shutil.copyfile(built, partial)
            partial.chmod(_MODE)
    with atomic_output(_description(path)) as partial:
        partial.write_text(json.dumps(description, indent=1) + "\n")
        partial.chmod(_MODE)
    built.unlink(missing_ok=True)


def _remove_old(path: Path, kind: str) -> None:
    """Remove all but the most recently used files of a kind."""
    used: list[tuple[float, Path]] = []
    for description in path.parent.glob(f"{kind}-{16 * '[0-9a-f]'}.*{_DESCRIPTION}"):
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
