"""Files of a bag folder, with or without its metadata.yaml."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import zstandard

from erfnet_ros.core.config_schema import read_mapping, shown
from erfnet_ros.core.errors import BagError, ParameterError
from erfnet_ros.data.bags.storage_file import RECOVERIES

METADATA = "metadata.yaml"
INFORMATION = "rosbag2_bagfile_information"
"""The only key of metadata.yaml."""


_UNPACKED_BYTES, _UNPACKED_RATIO = 1 << 30, 200
"""What a compressed file may unpack to: so many bytes, or so many times its size where that is more."""

_SCRATCH = "erfnet_bag_"
_SCRATCH_AGE_S = 60
"""A younger folder may not be locked yet."""

_METADATA_BYTES = 1 << 24


@dataclass(frozen=True)
class BagFolder:
    """The storage files of a bag.

    Attributes:
        files: In the order of recording; one or more, and all there.
        compression: "none", or how in words.
        message_count: How many messages metadata.yaml lists; None where it does not say.
        faults: What is missing, in words.
    """

    files: tuple[Path, ...]
    compression: str
    message_count: int | None
    faults: tuple[str, ...]


def is_bag(path: Path) -> bool:
    """Whether a path looks like a bag: a storage file, its metadata, or a folder that holds either."""
    if path.is_dir():
        return any(file.name == METADATA or _is_storage(file) for file in path.iterdir())
    return path.name == METADATA or _is_storage(path)


def find_files(path: Path) -> BagFolder:
    """Return the storage files of a rosbag2 folder, or of a single file."""
    try:
        return _found(path)
    except OSError as error:
        raise BagError(f"Cannot read the bag '{path}': {error.strerror}.") from error


def _found(path: Path) -> BagFolder:
    if path.is_dir():
        return _of_folder(path)
    if not path.exists():
        raise BagError(
            f"Expected a bag (a rosbag2 folder, .mcap or .db3), got '{path}', which does not exist; check the path."
        )
    if path.name == METADATA:
        return _of_folder(path.parent)
    if not _is_storage(path):
        raise BagError(
            f"Expected a bag (a rosbag2 folder, .mcap or .db3), got the file '{path}'"
            + (" of ROS 1; convert it with rosbags-convert." if path.suffix == ".bag" else ".")
        )
    return BagFolder((path,), "zstd (file)" if path.suffix == ".zstd" else "none", None, ())


class ScratchFolder:
    """A temporary folder; where this process is killed, the next one that makes such a folder removes it."""

    def __init__(self) -> None:
        for left in Path(gettempdir()).glob(f"{_SCRATCH}*"):
            # Not allowed, or locked by a process that lives.
            with suppress(OSError):
                status = left.lstat()
                if status.st_uid == os.getuid() and time.time() - status.st_mtime > _SCRATCH_AGE_S:
                    os.close(_lock(left))
                    shutil.rmtree(left)
        self._folder = TemporaryDirectory(prefix=_SCRATCH)
        self.path = Path(self._folder.name)
        self._lock = _lock(self.path)

    def close(self) -> None:
        """Remove it."""
        self._folder.cleanup()
        os.close(self._lock)


def _lock(folder: Path) -> int:
    """Lock a folder while the returned descriptor is open; OSError where another process has locked it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def inflated(paths: Sequence[Path], folder: Path, faults: list[str]) -> list[Path]:
    """Decompress the files that end in .zstd into a folder, as far as they are whole; return all to be read."""
    results = []
    for path in paths:
        if path.suffix != ".zstd":
            results.append(path)
            continue
        target = folder / path.stem
        try:
            with path.open("rb") as packed, target.open("wb") as unpacked:
                try:
                    with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as stream:
                        most = max(_UNPACKED_BYTES, _UNPACKED_RATIO * path.stat().st_size)
                        while block := stream.read(1 << 20):
                            if unpacked.tell() > most:
                                raise BagError(
                                    f"Expected at most {most / 1e9:.1f} GB in '{path}', which is {_UNPACKED_RATIO} "
                                    "times its size; this is no recording, or decompress it yourself with zstd -d."
                                )
                            unpacked.write(block)
                except zstandard.ZstdError as error:
                    faults.append(f"'{path.name}' is cut off or damaged: decompressed as far as it is whole ({error})")
        except OSError as error:
            raise BagError(
                f"Cannot decompress '{path}' into '{folder}': {error.strerror}; set TMPDIR to a folder with space."
            ) from error
        results.append(target)
    return results


def merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the metadata of one bag that has all the parts' files."""
    whole = dict(parts[0])
    whole["relative_file_paths"] = [name for part in parts for name in part["relative_file_paths"]]
    whole["files"] = [file for part in parts for file in part["files"]]
    whole["message_count"] = sum(part["message_count"] for part in parts)
    # rosbags lets a bag without messages start at the end of time.
    starts = [part["starting_time"]["nanoseconds_since_epoch"] if part["message_count"] else 0 for part in parts]
    ends = [start + part["duration"]["nanoseconds"] for start, part in zip(starts, parts, strict=True)]
    whole["starting_time"] = {"nanoseconds_since_epoch": min(starts)}
    whole["duration"] = {"nanoseconds": max(ends) - min(starts)}
    topics = "topics_with_message_count"
    counts = Counter[str]()
    for part in parts:
        counts.update({entry["topic_metadata"]["name"]: entry["message_count"] for entry in part[topics]})
    # The last part knows every topic: each begins with those declared before it.
    whole[topics] = [{**entry, "message_count": counts[entry["topic_metadata"]["name"]]} for entry in parts[-1][topics]]
    return whole


def _is_storage(path: Path) -> bool:
    return (PurePath(path.stem) if path.suffix == ".zstd" else path).suffix in RECOVERIES


def _of_folder(path: Path) -> BagFolder:
    there = sorted(file for file in path.iterdir() if _is_storage(file) and file.is_file())
    metadata = path / METADATA
    if not metadata.is_file():
        if not there:
            raise BagError(
                f"Expected a rosbag2 folder with {METADATA}, got '{path}', which has no .mcap or .db3 either."
            )
        return _without_metadata(there, f"{METADATA} is missing: was the recording cut off?")
    try:
        information = read_mapping(metadata, _METADATA_BYTES)[INFORMATION]
        names = [PurePath(name).name for name in information["relative_file_paths"]]
        count = information.get("message_count")
    except (ParameterError, TypeError, KeyError, AttributeError) as error:
        if not there:
            raise BagError(f"Expected the metadata of rosbag2 in '{metadata}', got: {error}.") from error
        return _without_metadata(there, f"{METADATA} is damaged")
    files = [path / name for name in names if (path / name).is_file()]
    if not files:
        raise BagError(f"Expected the bag's files {', '.join(names) or '(none)'} in '{path}', got none of them.")
    faults = [f"'{name}', a file of the bag, is missing" for name in names if path / name not in files]
    return BagFolder(
        tuple(files), _compression(information, metadata), count if isinstance(count, int) else None, tuple(faults)
    )


def _without_metadata(files: list[Path], why: str) -> BagFolder:
    compression = "zstd (file)" if any(file.suffix == ".zstd" for file in files) else "none"
    return BagFolder(tuple(files), compression, None, (f"{why}; {len(files)} storage files in the folder were read",))


def _compression(information: dict[str, Any], metadata: Path) -> str:
    kind, mode = (information.get(f"compression_{key}") or "" for key in ("format", "mode"))
    # An alias of YAML can stand for a value that takes hours to print.
    kind, mode = (entry.lower() if isinstance(entry, str) else shown(entry) for entry in (kind, mode))
    if not kind or mode in ("", "none"):
        return "none"
    if kind != "zstd":
        raise BagError(f"Expected compression zstd in '{metadata}', got {kind}; convert the bag with ros2 bag convert.")
    return f"{kind} ({mode})"
