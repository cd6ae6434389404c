"""State dict validation: names, shapes, types and values of an ERFNet's tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import CheckpointError
from erfnet_ros.models.erfnet import ERFNet

_NAMES_SHOWN = 5
HEADS = (("encoder.output_conv", 0), ("decoder.output_conv", 1))
"""Where the class count stands: on the first axis of a convolution's weight, the second of a transposed one's."""


def fitted(tensors: Mapping[str, Tensor], class_set: ClassSet, path: Path) -> dict[str, Tensor]:
    """Return tensors by the authors' names in the types (float32, counters int64) and the order of the network.

    Raises:
        CheckpointError: Tensors of the file are missing, extra, misshapen, not real numbers, or not finite.
    """
    wanted = expected_tensors(len(class_set))
    both = [name for name in wanted if name in tensors]
    kinds = {
        "missing": [name for name in wanted if name not in tensors],
        "not part of it": [name for name in tensors if name not in wanted],
        "of another shape": [
            f"{name} (expected {tuple(wanted[name].shape)}, got {tuple(tensors[name].shape)})"
            for name in both
            if tensors[name].shape != wanted[name].shape
        ],
        "of another type": [
            f"{name} ({tensors[name].dtype})"
            for name in both
            if tensors[name].is_floating_point() != wanted[name].is_floating_point() or tensors[name].is_complex()
        ],
    }
    faults = [f"{kind}: {shown(names)}" for kind, names in kinds.items() if names]
    if faults:
        raise CheckpointError(
            f"The tensors of {path} do not make an ERFNet of {len(class_set)} classes ({class_set.name}). "
            f"{'; '.join(faults)}. Take the class set and the network that the file was trained with."
        )
    result = {name: tensors[name].detach().to(like.dtype) for name, like in wanted.items()}
    broken = not_finite(result)
    if broken:
        raise CheckpointError(
            f"Expected finite weights in {path}, got NaN or infinity in {shown(broken)}; train or get it again."
        )
    return result


def expected_tensors(num_classes: int) -> dict[str, Tensor]:
    """Return the network's tensors by name, with shape and type but without values."""
    with torch.device("meta"):
        return ERFNet(num_classes).state_dict()


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the tensors that hold NaN or infinity."""
    return [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]


def shown(names: list[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def without_void_logit(tensors: Mapping[str, Tensor], num_classes: int) -> dict[str, Tensor]:
    """Leave out the last of `num_classes` + 1 logits; heads of another size stay as they are.

    The authors' networks end in a logit for void, which Cityscapes' scores never ask for: the best of the classes wins.
    """
    result = dict(tensors)
    for name, axis in HEADS:
        weight, bias = result.get(f"{name}.weight"), result.get(f"{name}.bias")
        if weight is None or bias is None or weight.ndim != 4 or weight.shape[axis] != num_classes + 1:
            continue
        if bias.shape == (num_classes + 1,):
            result[f"{name}.weight"] = weight.narrow(axis, 0, num_classes).clone()
            result[f"{name}.bias"] = bias[:num_classes].clone()
    return result


def with_unread_tensors(tensors: Mapping[str, Tensor], num_classes: int) -> tuple[dict[str, Tensor], list[str]]:
    """Fill in with zeros what older files lack and segmentation never reads; return all tensors, and the names added.

    PyTorch before 0.4.1 kept no `num_batches_tracked`, and a network that the authors' code trains on an ImageNet
    encoder has no `encoder.output_conv` (their train/main.py). Where part of such a group is there, the rest is missing
    for another reason and stays missing.
    """
    wanted = expected_tensors(num_classes)
    groups = (
        [name for name in wanted if name.endswith(".num_batches_tracked")],
        [name for name in wanted if name.startswith("encoder.output_conv.")],
    )
    absent = [name for group in groups if not tensors.keys() & set(group) for name in group]
    zeros = {name: torch.zeros(wanted[name].shape, dtype=wanted[name].dtype) for name in absent}
    return {**tensors, **zeros}, absent
