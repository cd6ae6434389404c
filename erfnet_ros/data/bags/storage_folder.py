"""Files of a bag folder, with or without its metadata.yaml."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import yaml
import zstandard

from erfnet_ros.core.errors import BagError
from erfnet_ros.data.bags.storage_file import RECOVERIES

METADATA = "metadata.yaml"
INFORMATION = "rosbag2_bagfile_information"
"""The only key of metadata.yaml."""


@dataclass(frozen=True)
class BagFolder:
    """The storage files of a bag.

    Attributes:
        files: In the order of recording; one or more, and all there.
        compression: "none", or how in words.
        message_count: How many messages metadata.yaml tells of; None where it does not.
        faults: What is missing, in words.
    """

    files: tuple[Path, ...]
    compression: str
    message_count: int | None
    faults: tuple[str, ...]


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
        raise BagError(f"Expected a bag (a rosbag2 folder, .mcap or .db3), got '{path}', which does not exist.")
    if path.name == METADATA:
        return _of_folder(path.parent)
    if not _is_storage(path):
        raise BagError(
            f"Expected a bag (a rosbag2 folder, .mcap or .db3), got the file '{path}'"
            + (" of ROS 1; convert it with rosbags-convert." if path.suffix == ".bag" else ".")
        )
    return BagFolder((path,), "zstd (file)" if path.suffix == ".zstd" else "none", None, ())


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
                        shutil.copyfileobj(stream, unpacked, 1 << 20)
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
        information = yaml.safe_load(metadata.read_text(encoding="utf-8"))[INFORMATION]
        names = [PurePath(name).name for name in information["relative_file_paths"]]
    except (OSError, ValueError, yaml.YAMLError, TypeError, KeyError) as error:
        if not there:
            raise BagError(
                f"Expected the metadata of rosbag2 in '{metadata}', got: {' '.join(str(error).split())}."
            ) from error
        return _without_metadata(there, f"{METADATA} is damaged")
    files = [path / name for name in names if (path / name).is_file()]
    if not files:
        raise BagError(f"Expected the bag's files {', '.join(names) or '(none)'} in '{path}', got none of them.")
    faults = [f"'{name}', a file of the bag, is missing" for name in names if path / name not in files]
    count = information.get("message_count")
    return BagFolder(
        tuple(files), _compression(information, metadata), count if isinstance(count, int) else None, tuple(faults)
    )


def _without_metadata(files: list[Path], why: str) -> BagFolder:
    compression = "zstd (file)" if any(file.suffix == ".zstd" for file in files) else "none"
    return BagFolder(tuple(files), compression, None, (f"{why}; {len(files)} storage files in the folder were read",))


def _compression(information: dict[str, Any], metadata: Path) -> str:
    kind, mode = (str(information.get(f"compression_{key}") or "").lower() for key in ("format", "mode"))
    if not kind or mode in ("", "none"):
        return "none"
    if kind != "zstd":
        raise BagError(f"Expected compression zstd in '{metadata}', got {kind}; convert the bag with ros2 bag convert.")
    return f"{kind} ({mode})"
