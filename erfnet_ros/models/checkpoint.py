"""Checkpoint file: weights, class set, input size and license.

A checkpoint is a safetensors file; its metadata holds one JSON object under the key `erfnet_ros`. Nothing is ever
unpickled but tensors: the authors' files go through `torch.load(weights_only=True)`.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.config_schema import decode, encode
from erfnet_ros.core.errors import CheckpointError, ClassSetError, ParameterError
from erfnet_ros.core.image_size import check_input_size
from erfnet_ros.core.output_files import atomic_output
from erfnet_ros.models.erfnet import ACTIVATIONS, ERFNet
from erfnet_ros.models.state_dict import fitted, not_finite, shown, with_unread_tensors, without_void_logit

log = logging.getLogger(__name__)

DEFAULT = Path(__file__).parents[1] / "weights" / "camvid.safetensors"
"""The weights that come with the package."""

FORMAT = 1
"""Version of the metadata's layout."""

_METADATA_KEY = "erfnet_ros"

_CONTAINERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = r"^(module\.|_orig_mod\.|model\.|features\.)+"
"""What DataParallel, torch.compile, Lightning modules and the authors' ImageNet network put before names."""

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Calibration:
    """Measurements over images that int8 needs.

    Attributes:
        ranges: Largest value of each of the network's `ACTIVATIONS`, by name; above 0.
        agreement: Share of the images' pixels on which int8 chose the class of fp32, 0..1.
    """

    ranges: Mapping[str, float]
    agreement: float


@dataclass(frozen=True)
class Checkpoint:
    """Weights and what they mean.

    Attributes:
        class_set: What the logits stand for, in order.
        state_dict: Tensors by the authors' names, float32 (counters int64).
        input_size: (width, height) of the images that the network was trained on, pixels.
        data: What it was trained on.
        miou: Measured mIoU on that data's test split, 0..1; None where it was not measured.
        license: Terms of the weights and of the data behind them.
        mean: Subtracted from RGB in 0..1.
        std: Divides RGB after that.
    """

    class_set: ClassSet
    state_dict: dict[str, Tensor]
    input_size: tuple[int, int]
    data: str
    miou: float | None
    license: str
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    calibration: Calibration | None = None


def build_network(checkpoint: Checkpoint) -> ERFNet:
    """Return the network with the checkpoint's weights, in evaluation mode."""
    network = ERFNet(len(checkpoint.class_set))
    network.load_state_dict(checkpoint.state_dict)
    return network.eval()


def save(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write a checkpoint, weights as float16; the file is complete or not there.

    Raises:
        CheckpointError: The file cannot be written, or a weight is NaN or too large for float16.
    """
    path = Path(path)
    if not path.name or path.is_dir():
        raise CheckpointError(f"Expected a file name for the checkpoint, got the folder '{path}'.")
    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in checkpoint.state_dict.items()
    }
    broken = not_finite(tensors)
    if broken:
        raise CheckpointError(
            f"Expected weights that float16 holds (up to {torch.finfo(torch.float16).max:.0f}) to write to {path}, got "
            f"NaN or infinity in {shown(broken)}; train again."
        )
    metadata = {"format": FORMAT, **encode(replace(checkpoint, state_dict={}))}
    del metadata["state_dict"]
    try:
        with atomic_output(path) as partial:
            save_file(tensors, partial, {_METADATA_KEY: json.dumps(metadata)})
            # safetensors writes for the owner alone, but an installed package is read by everyone.
            partial.chmod(0o644)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"Cannot write checkpoint {path}: {error}; choose another place.") from error


def load(path: str | Path | None = None) -> Checkpoint:
    """Read a checkpoint; None means the shipped CamVid weights.

    Raises:
        CheckpointError: The file is missing or damaged, not written by this package, or its tensors do not make the
            network that its class set needs.
    """
    path = DEFAULT if path is None else Path(path)
    _check_file(path, "a checkpoint (.safetensors)")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a checkpoint: {_what_else(path, error)}") from error
    if _METADATA_KEY not in metadata:
        raise CheckpointError(
            f"{path} is a safetensors file of another program: it has no '{_METADATA_KEY}' metadata. "
            "Use a file that this package wrote, or turn a .pth into one with: erfnet import-weights."
        )
    return _from_metadata(metadata[_METADATA_KEY], tensors, path)


def import_weights(
    path: str | Path,
    class_set: ClassSet,
    input_size: tuple[int, int],
    *,
    data: str = "",
    license: str = "",
    miou: float | None = None,
) -> Checkpoint:
    """Turn a `.pth` or `.pth.tar` file of the authors' PyTorch code into a checkpoint.

    Names may carry wrappers' prefixes; the tensors may lie under `state_dict` or `model`. Where the network has one
    logit more than the class set has classes, the last is void and is left out. Tensors that older files lack and
    segmentation never reads become zeros. Both are logged.

    Args:
        path: The file; only tensors and plain containers in it are read.
        class_set: See `Checkpoint`, as for all that follow.

    Raises:
        CheckpointError: The file cannot be read without running code from it, or tensors are missing, extra or
            misshapen.
    """
    path = Path(path)
    tensors, filled = with_unread_tensors(unpickled_tensors(path), len(class_set))
    classes_only = without_void_logit(tensors, len(class_set))
    state_dict = fitted(classes_only, class_set, path)
    if filled:
        log.info("%s lacks tensors that segmentation never reads, which are set to 0: %s.", path, shown(filled))
    if any(classes_only[name] is not tensors[name] for name in tensors):
        log.info("%s has %d logits; the last, void, is left out.", path, len(class_set) + 1)
    return Checkpoint(class_set, state_dict, input_size, data, miou, license)


def unpickled_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a `.pth` file by name, without wrappers' prefixes."""
    _check_file(path, "a .pth or .pth.tar file")
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch.load raises nearly anything on a file that is not its own, and its text advises to load it unsafely.
        asked_for = re.search(r"GLOBAL (\S+)", str(error))
        raise CheckpointError(
            f"{path} was refused: it is damaged, or holds more than tensors, which would run as code when loaded"
            f"{f' (it asks for {asked_for[1]})' if asked_for else ''}. Save the network's state_dict() alone."
        ) from error
    for key in _CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise CheckpointError(f"Expected tensors by name in {path}, got {type(content).__name__}; save a state_dict().")
    others = [f"{name} ({type(value).__name__})" for name, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise CheckpointError(
            f"Expected tensors by name in {path}, got {shown(others)} as well; save the state_dict() alone or "
            f"under one of {', '.join(_CONTAINERS)}."
        )
    return {re.sub(_PREFIXES, "", str(name)): value for name, value in content.items()}


def _check_file(path: Path, expected: str) -> None:
    # os.path, unlike pathlib, answers no where a folder on the way may not be entered.
    if not os.path.isfile(path):
        found = "a folder" if os.path.isdir(path) else "no such file (or no permission to see it)"
        raise CheckpointError(f"Expected {expected} at {path}, got {found}; check the path.")


def _from_metadata(text: str, tensors: dict[str, Tensor], path: Path) -> Checkpoint:
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has checkpoint format {content['format']!r}, and this version reads {FORMAT}; update "
                "erfnet_ros."
            )
        # Checkpoints written before the spelling was American say "licence".
        content = {"license": content.get("licence"), **content, "state_dict": {}}
        found = decode(Checkpoint, content, "metadata")
        check_input_size(*found.input_size)
        if min(found.std) <= 0:
            raise ValueError(f"std {found.std} is not positive")
        ranges = found.calibration.ranges if found.calibration else dict.fromkeys(ACTIVATIONS, 1.0)
        if set(ranges) != set(ACTIVATIONS) or min(ranges.values()) <= 0:
            raise ValueError("the calibration's ranges are not a positive number for each layer")
    except (KeyError, TypeError, ValueError, RecursionError, ClassSetError, ParameterError) as error:
        raise CheckpointError(
            f"The metadata of {path} is damaged ({type(error).__name__}: {error}); get the file again."
        ) from error
    return replace(found, state_dict=fitted(tensors, found.class_set, path))


def _what_else(path: Path, error: Exception) -> str:
    """Return what a file that is no safetensors file seems to be, and what to do."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as failure:
        return f"it cannot be read ({failure.strerror}); check its permissions."
    if not head:
        return "it is empty; get the file again."
    # A pickle begins with its protocol; so may a safetensors header's length, but then JSON follows.
    if head[:2] == b"PK" or (head[:1] == b"\x80" and head[8:] != b"{"):
        return f"it is a pickled PyTorch file; turn it into one with: erfnet import-weights {path} -o OUT.safetensors"
    return f"it is truncated or of another kind ({error}); get the file again."
