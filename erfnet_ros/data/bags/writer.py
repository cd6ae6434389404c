"""Writer of rosbag2 bags, which are complete or not there."""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer, WriterError

from erfnet_ros.core.errors import BagError
from erfnet_ros.core.output_files import temporary_folder
from erfnet_ros.data.bags.message_types import LABEL_INFO, LATCHED, Declaration, known_types
from erfnet_ros.data.bags.storage_folder import INFORMATION, METADATA, merged

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}

COMPRESSIONS = ("none", "zstd")
"""zstd compresses what can be read as a stream: chunks in mcap, messages in sqlite3."""

_VERSION = 8
"""Of metadata.yaml: the newest whose QoS profiles Humble reads, and which everything since then reads."""

_LAST_NS = 2**63 - 1

_NO_DIGEST = "RIHS01_" + "0" * 64
"""Stands for the hash of a type that is not known here, where the bag that it comes from has none."""

_UNFOLDED = 1 << 30
"""Columns: not every reader of YAML unfolds long texts alike."""


class BagWriter:
    """A bag that is being written; as a context manager it is there once the block has ended without an error.

    The same topics and messages give the same bytes.

    Args:
        path: The folder; it is written under another name and renamed when it is complete.
        storage: "mcap" or "sqlite3".
        compression: One of COMPRESSIONS.
        force: Whether a bag that is there already is replaced, when the new one is complete.
        split_bytes: Begin a new file when the messages of one are this many bytes; None makes a single file.

    Raises:
        BagError: The target exists, cannot be written to, or is asked for in a way that does not exist.
    """

    def __init__(
        self,
        path: Path | str,
        storage: str = "mcap",
        *,
        compression: str = "none",
        force: bool = False,
        split_bytes: int | None = None,
    ) -> None:
        self.path = Path(path)
        if storage not in STORAGES:
            raise BagError(f"Expected storage {' or '.join(STORAGES)}, got '{storage}'.")
        if compression not in COMPRESSIONS:
            raise BagError(f"Expected compression {', '.join(COMPRESSIONS)}, got '{compression}'.")
        self._storage, self._compression, self._force, self._split_bytes = storage, compression, force, split_bytes
        self._target = Path(os.path.abspath(self.path))
        self._refuse_existing()
        self._declarations: dict[str, Declaration] = {}
        self._parts: list[Path] = []
        self._writer: Any = None
        with self._errors_explained():
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._cleanup = ExitStack()
            draft = temporary_folder(self._target.parent, f".{self._target.name}.", ".part")
            self._draft = self._cleanup.enter_context(draft)
            try:
                self._begin_part()
            except BaseException:
                self.abort()
                raise

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def add(self, topic: str, type: str) -> None:
        """Declare a topic; that of a LabelInfo and /tf_static are kept for late subscribers (transient local).

        Args:
            topic: Name.
            type: Such as "sensor_msgs/msg/Image".
        """
        self.add_declared(Declaration(topic, type, "", "", ()))

    def add_declared(self, declaration: Declaration) -> None:
        """Declare a topic as another bag does (`BagReader.declarations`): with its definition and QoS profiles."""
        topic, type, definition = declaration.topic, declaration.type, declaration.definition
        if topic in self._declarations:
            raise BagError(f"Expected each topic once, got '{topic}' again.")
        digest = declaration.digest
        if type in known_types().fielddefs:
            definition = definition or known_types().generate_msgdef(type, ros_version=2)[0]
            digest = digest or known_types().hash_rihs01(type)
        elif not definition:
            raise BagError(f"Expected a known type for '{topic}', got '{type}', which is not defined either.")
        qos = declaration.qos or ((LATCHED,) if type == LABEL_INFO or topic == "/tf_static" else ())
        full = Declaration(topic, type, definition, digest or _NO_DIGEST, qos)
        self._declare(full)
        self._declarations[topic] = full

    def write(self, topic: str, time_ns: int, message: Any | bytes) -> None:
        """Write a message.

        Args:
            topic: A topic that was added.
            time_ns: When it was recorded, nanoseconds.
            message: An object with the fields of the topic's type; or its serialized bytes, written as they are.
        """
        declaration = self._declarations.get(topic)
        if declaration is None:
            names = ", ".join(self._declarations) or "(none)"
            raise BagError(f"Expected one of the added topics {names}, got '{topic}'.")
        if not 0 <= time_ns <= _LAST_NS:
            raise BagError(f"Expected a time of 0 to {_LAST_NS} ns on '{topic}', got {time_ns}.")
        data = message
        if not isinstance(message, (bytes, bytearray, memoryview)):
            try:
                data = known_types().serialize_cdr(message, declaration.type)
            except (AttributeError, AssertionError, IndexError, TypeError, ValueError, struct.error) as error:
                raise BagError(
                    f"Expected a {declaration.type} for '{topic}', got an object that is not one: {error}"
                ) from error
        with self._errors_explained():
            if self._split_bytes is not None and self._written and self._written + len(data) > self._split_bytes:
                self._writer.close()
                self._begin_part()
            self._writer.write(self._connections[topic], time_ns, data)
        self._written += len(data)

    def close(self) -> None:
        """Complete the bag and put it in its place."""
        try:
            with self._errors_explained():
                self._writer.close()
                assembled = self._assembled()
                self._refuse_existing()
                if self._target.exists():
                    self._target.rename(self._draft / "replaced")
                assembled.rename(self._target)
        except BaseException:
            self.abort()
            raise
        self._cleanup.close()

    def abort(self) -> None:
        """Leave nothing behind."""
        # The error that led here is the one to tell; closing a file on a full disk fails once more.
        with suppress(OSError, sqlite3.Error):
            if self._writer is not None:
                self._writer.abort()
        self._cleanup.close()

    def _begin_part(self) -> None:
        """Begin a file; each is a bag of its own until all are put together."""
        # Named as rosbag2 does; rosbags calls the file after its folder.
        path = self._draft / f"{self._target.name}_{len(self._parts)}"
        self._writer = Writer(path, version=_VERSION, storage_plugin=STORAGES[self._storage])
        if self._compression != "none":
            mode = CompressionMode.STORAGE if self._storage == "mcap" else CompressionMode.MESSAGE
            self._writer.set_compression(mode, CompressionFormat.ZSTD)
        self._writer.open()
        self._parts.append(path)
        self._connections: dict[str, Any] = {}
        self._written = 0
        for declaration in self._declarations.values():
            self._declare(declaration)

    def _declare(self, declaration: Declaration) -> None:
        with self._errors_explained():
            self._connections[declaration.topic] = self._writer.add_connection(
                declaration.topic,
                declaration.type,
                msgdef=declaration.definition,
                rihs01=declaration.digest,
                offered_qos_profiles=declaration.qos,
            )

    def _assembled(self) -> Path:
        """Put the files into one folder, under one metadata.yaml; return the folder."""
        folder = self._draft / "assembled"
        folder.mkdir()
        parts = []
        for path in self._parts:
            parts.append(yaml.safe_load((path / METADATA).read_text(encoding="utf-8"))[INFORMATION])
            for name in parts[-1]["relative_file_paths"]:
                (path / name).rename(folder / name)
        content = yaml.safe_dump({INFORMATION: merged(parts)}, sort_keys=False, width=_UNFOLDED)
        (folder / METADATA).write_text(content, encoding="utf-8")
        return folder

    def _refuse_existing(self) -> None:
        if self._target.parent.exists() and not self._target.parent.is_dir():
            raise BagError(f"Cannot write the bag '{self.path}': '{self.path.parent}' is not a folder; choose another.")
        if not self._target.exists():
            return
        if not self._force:
            raise BagError(f"Expected a new bag, but '{self.path}' exists; choose another name or use --force.")
        if not (self._target / METADATA).is_file():
            raise BagError(f"Expected a bag to replace, got '{self.path}', which is not a bag; choose another name.")

    @contextmanager
    def _errors_explained(self) -> Iterator[None]:
        """Turn errors of the file system into a BagError."""
        try:
            yield
        except OSError as error:
            raise BagError(
                f"Cannot write the bag '{self.path}': {error.strerror or error}; "
                "choose a folder that can be written to and has the space."
            ) from error
        except (WriterError, sqlite3.Error) as error:
            raise BagError(f"Cannot write the bag '{self.path}': {error}; is the disk full?") from error
