"""One file: weights and what they mean.

A checkpoint is a safetensors file; its metadata holds one JSON object under the key `erfnet_ros`. Nothing is ever
unpickled but tensors: the authors' files go through `torch.load(weights_only=True)`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from erfnet_ros.classes import ClassSet
from erfnet_ros.errors import CheckpointError, ClassSetError
from erfnet_ros.network import ERFNet

DEFAULT = Path(__file__).parent / "weights" / "camvid.safetensors"
"""The weights that come with the package."""

FORMAT = 1
"""Version of the metadata's layout."""

_METADATA_KEY = "erfnet_ros"
_NAMES_SHOWN = 5

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Checkpoint:
    """Weights and what they mean.

    Attributes:
        class_set: What the logits stand for, in order.
        state_dict: Tensors by the authors' names, float32 (counters int64).
        input_size: (width, height) of the images that the network was trained on, pixels.
        data: What it was trained on.
        miou: Measured mIoU on that data's test split, 0..1; None where it was not measured.
        licence: Terms of the weights and of the data behind them.
        mean: Subtracted from RGB in 0..1.
        std: Divides RGB after that.
    """

    class_set: ClassSet
    state_dict: dict[str, Tensor]
    input_size: tuple[int, int]
    data: str
    miou: float | None
    licence: str
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)


def build_network(checkpoint: Checkpoint) -> ERFNet:
    """Return the network with the checkpoint's weights, in evaluation mode."""
    network = ERFNet(len(checkpoint.class_set))
    network.load_state_dict(checkpoint.state_dict)
    return network.eval()


def save(checkpoint: Checkpoint, path: str | Path) -> None:
    """Write a checkpoint, weights as float16; the file is complete or not there.

    Raises:
        CheckpointError: The file cannot be written, or a weight does not fit float16.
    """
    tensors = {}
    for name, tensor in checkpoint.state_dict.items():
        tensors[name] = (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
    _check_finite(tensors, Path(path))
    metadata = {
        "format": FORMAT,
        "class_set": checkpoint.class_set.to_dict(),
        "input_size": list(checkpoint.input_size),
        "mean": list(checkpoint.mean),
        "std": list(checkpoint.std),
        "data": checkpoint.data,
        "miou": checkpoint.miou,
        "licence": checkpoint.licence,
    }
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        save_file(tensors, partial, {_METADATA_KEY: json.dumps(metadata)})
        # safetensors writes for the owner alone, but an installed package is read by everyone.
        partial.chmod(0o644)
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise CheckpointError(f"Cannot write checkpoint {path}: {error}.") from error


def load(path: str | Path | None = None) -> Checkpoint:
    """Read a checkpoint; None means the shipped CamVid weights.

    Raises:
        CheckpointError: The file is missing, truncated, no safetensors file, not written by this package, or its
            tensors do not make the network that its class set needs.
    """
    path = DEFAULT if path is None else Path(path)
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "no such file"
        raise CheckpointError(f"Expected a checkpoint (.safetensors) at {path}, got {kind}.")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a checkpoint: {_what_else(path, error)}") from error
    if _METADATA_KEY not in metadata:
        raise CheckpointError(
            f"{path} is a safetensors file of another program: it has no '{_METADATA_KEY}' metadata. "
            "Use a file written by erfnet train or erfnet import-weights."
        )
    return _from_metadata(metadata[_METADATA_KEY], tensors, path)


def import_weights(
    path: str | Path,
    class_set: ClassSet,
    input_size: tuple[int, int],
    data: str = "",
    licence: str = "",
    miou: float | None = None,
) -> Checkpoint:
    """Turn a `.pth` or `.pth.tar` file of the authors' PyTorch code into a checkpoint.

    Names may carry the prefix `module.`; the tensors may lie under `state_dict`. The authors' networks have one
    logit more than
    classes, for void: it is left out, since a pixel always belongs to one of the classes in the scores they report.

    Args:
        path: The file; only tensors and plain containers in it are read.
        class_set: What the logits stand for.
        input_size: (width, height) that it was trained on.

    Raises:
        CheckpointError: The file cannot be read without running code from it, or tensors are missing, extra or
            misshapen.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            f"Expected a .pth or .pth.tar file at {path}, got {'a folder' if path.is_dir() else 'no such file'}."
        )
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch.load raises nearly anything on a file that is not its own.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} was refused: it is damaged, or holds more than tensors, which would run as code when "
            f"loaded ({reason})."
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"Expected tensors by name in {path}, got {type(content).__name__} with other content.")
    tensors = {str(name).removeprefix("module."): value for name, value in content.items()}
    _drop_void_logit(tensors, len(class_set))
    return Checkpoint(class_set, _checked(tensors, class_set, path), input_size, data, miou, licence)


def _drop_void_logit(tensors: dict[str, Tensor], num_classes: int) -> None:
    # Classes are the first axis of a convolution's weight and the second of a transposed one's.
    for name, axis in (("encoder.output_conv", 0), ("decoder.output_conv", 1)):
        weight, bias = tensors.get(f"{name}.weight"), tensors.get(f"{name}.bias")
        if weight is not None and bias is not None and weight.ndim == 4 and weight.shape[axis] == num_classes + 1:
            tensors[f"{name}.weight"] = weight.narrow(axis, 0, num_classes).clone()
            tensors[f"{name}.bias"] = bias[:num_classes].clone()


def _from_metadata(text: str, tensors: dict[str, Tensor], path: Path) -> Checkpoint:
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has checkpoint format {content['format']!r}, and this version reads {FORMAT}; update "
                "erfnet_ros."
            )
        class_set = ClassSet.from_dict(content["class_set"], f"the checkpoint {path}")
        width, height = (int(side) for side in content["input_size"])
        mean, std = _triple(content["mean"]), _triple(content["std"])
        miou = None if content["miou"] is None else float(content["miou"])
        data, licence = str(content["data"]), str(content["licence"])
    except (KeyError, TypeError, ValueError, ClassSetError) as error:
        raise CheckpointError(
            f"The metadata of {path} is damaged ({type(error).__name__}: {error}); get the file again."
        ) from error
    if min(width, height) < 1 or min(std) <= 0:
        raise CheckpointError(
            f"Expected a positive input_size and std in the metadata of {path}, got {width}x{height} and {std}; "
            "get the file again."
        )
    return Checkpoint(class_set, _checked(tensors, class_set, path), (width, height), data, miou, licence, mean, std)


def _triple(values: Any) -> Triple:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _checked(tensors: Mapping[str, Tensor], class_set: ClassSet, path: Path) -> dict[str, Tensor]:
    """Return the tensors in the network's types and order, or say all that does not fit."""
    wanted = ERFNet(len(class_set)).state_dict()
    misshapen = [
        f"{name} (expected {tuple(wanted[name].shape)}, got {tuple(tensors[name].shape)})"
        for name in wanted
        if name in tensors and tensors[name].shape != wanted[name].shape
    ]
    faults = [
        f"{kind}: {_shown(names)}"
        for kind, names in (
            ("missing", [name for name in wanted if name not in tensors]),
            ("not part of it", [name for name in tensors if name not in wanted]),
            ("of another shape", misshapen),
        )
        if names
    ]
    if faults:
        raise CheckpointError(
            f"The tensors of {path} do not make an ERFNet of {len(class_set)} classes ({class_set.name}). "
            f"{'. '.join(faults)}."
        )
    _check_finite(tensors, path)
    return {name: tensors[name].to(like.dtype) for name, like in wanted.items()}


def _check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    broken = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise CheckpointError(
            f"Expected finite weights in {path}, got NaN or infinity in {_shown(broken)}; train or get it again."
        )


def _shown(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _what_else(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        head = file.read(4)
    if head[:2] == b"PK" or head[:1] == b"\x80":
        return "it is a pickled PyTorch file; turn it into one with: erfnet import-weights FILE -o OUT.safetensors"
    if path.stat().st_size == 0:
        return "it is empty; get the file again."
    return f"it is truncated or of another kind ({error}); get the file again."
