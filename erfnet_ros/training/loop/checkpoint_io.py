"""The state of a training run on disk: whole or not there, and never unpickled but for tensors."""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO

from erfnet_ros.core.errors import TrainingError

STATE = "state.ckpt"
"""The file in the run's folder."""


class StateFile(CheckpointIO):
    """How Lightning writes and reads its checkpoints here."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write beside and rename.

        Raises:
            TrainingError: The file cannot be written; the one before is still there.
        """
        path = Path(path)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        content = io.BytesIO()
        torch.save(checkpoint, content)
        try:
            with partial.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                # A machine that loses power may else keep the rename and lose the bytes.
                os.fsync(file.fileno())
            os.replace(partial, path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink()
            raise cannot_write(path, error, path) from error

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read what `save_checkpoint` wrote, tensors and plain containers alone, whatever `weights_only` says.

        Raises:
            TrainingError: The file is missing, damaged, or another program's.
        """
        return read_state(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a state."""
        Path(path).unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError, state: Path) -> TrainingError:
    """Return what to tell of a file or folder that could not be written, and of the run's state."""
    unharmed = "the state saved before is unharmed. Make room and go on with --resume."
    what_now = unharmed if state.exists() else "no state was saved yet. Make room and begin again."
    return TrainingError(f"Cannot write {path}: {error.strerror}; {what_now}")


@contextmanager
def report_full_disk(run: Path) -> Iterator[None]:
    """Tell a full disk as one error, whoever meets it: TensorBoard's curves and pictures, Lightning, the report.

    Raises:
        TrainingError: Something could not be written into the run's folder.
    """
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
        raise cannot_write(run, error, run / STATE) from error
    finally:
        threading.excepthook = hook


def _is_full(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def remove_partial_states(run: Path) -> None:
    """Delete what a killed process left half written."""
    for partial in run.glob(f"{STATE}.*.partial"):
        partial.unlink(missing_ok=True)


def read_state(path: Path) -> dict[str, Any]:
    """Read a state into the CPU's memory.

    Raises:
        TrainingError: The file is missing, damaged, or another program's.
    """
    if not path.is_file():
        raise TrainingError(
            f"Expected the state of an interrupted run at {path} to resume, found none; leave out --resume."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch.load raises nearly anything on a file that is not its own, and its text advises to load it unsafely.
        raise TrainingError(f"Expected a state of this program in {path}, got something else; begin anew.") from error
    if not isinstance(state, dict):
        raise TrainingError(f"Expected a state of this program in {path}, got {type(state).__name__}; begin anew.")
    return state
