"""File of a run's state: written atomically, read without unpickling anything but tensors."""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO

from erfnet_ros.core.errors import TrainingError
from erfnet_ros.core.output_files import atomic_output
from erfnet_ros.training.config.request import STATE


class StateFile(CheckpointIO):
    """Lightning's checkpoint reader and writer."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a state; raise TrainingError where it cannot be written, with the one before still there."""
        path = Path(path)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        try:
            with atomic_output(path) as partial, partial.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                # Else a power cut may keep the rename and lose the bytes.
                os.fsync(file.fileno())
        except OSError as error:
            raise cannot_write(path, error, path) from error

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """See `read_state`; `weights_only` is taken as true."""
        return read_state(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a state."""
        Path(path).unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError, state: Path) -> TrainingError:
    """Return the error of a file or folder that cannot be written, with what to do."""
    unharmed = "the state saved before is intact. Free some space and continue with --resume."
    advice = unharmed if state.exists() else "no state was saved yet. Free some space and start again."
    return TrainingError(f"Cannot write {path}: {error.strerror}; {advice}")


@contextmanager
def report_full_disk(state: Path) -> Iterator[None]:
    """Raise a full disk as one TrainingError, whoever writes: TensorBoard, Lightning or the report."""
    hook = threading.excepthook

    def quiet(event: threading.ExceptHookArgs) -> None:
        # TensorBoard writes in a thread of its own, and raises its error once more at the next write.
        if not _is_full(event.exc_value):
            hook(event)

    threading.excepthook = quiet
    try:
        yield
    except OSError as error:
        if not _is_full(error):
            raise
        raise cannot_write(state.parent, error, state) from error
    finally:
        threading.excepthook = hook


def _is_full(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def remove_partial_states(run: Path) -> None:
    """Delete temporary files of a killed process."""
    for partial in run.glob(f"{STATE}.*.partial"):
        partial.unlink(missing_ok=True)


def read_state(path: Path) -> dict[str, Any]:
    """Read a state into the CPU's memory; raise TrainingError where it is missing, damaged or something else."""
    if not path.is_file():
        raise TrainingError(
            f"Expected the state of an interrupted run at {path} to resume, found none; leave out --resume."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch.load raises nearly anything on a file that is not its own, and its text advises to load it unsafely.
        raise TrainingError(
            f"Expected a state of 'erfnet train' in {path}, got something else; start a new run."
        ) from error
    if not isinstance(state, dict):
        raise TrainingError(f"Expected a state of 'erfnet train' in {path}, got {type(state).__name__}.")
    return state
