"""Small teachers as ONNX files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

NAMES = ("person", "sky", "road")
METADATA: dict[str, Any] = {"classes": NAMES, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}


def make_teacher(
    path: Path,
    names: Sequence[str] = NAMES,
    *,
    fixed: tuple[int, int, int, int] | None = None,
    pooled: bool = False,
    metadata: Mapping[str, str | None] | None = None,
) -> tuple[Path, nn.Module]:
    """Write a network of random weights, and return it as well.

    Args:
        fixed: (N, 3, H, W) that alone the file takes; None takes any.
        pooled: Whether it classifies whole images.
        metadata: Replaces entries; None leaves one out.
    """
    import onnx

    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, len(names), 1)]
    network = nn.Sequential(*layers, *([nn.AdaptiveAvgPool2d(1), nn.Flatten()] if pooled else [])).eval()
    axes = None if fixed else {"image": {0: "n", 2: "h", 3: "w"}}
    torch.onnx.export(
        network,
        (torch.zeros(fixed or (1, 3, 32, 32)),),
        str(path),
        input_names=["image"],
        dynamic_axes=axes,
        dynamo=False,
    )
    model = onnx.load(path)
    entries = {key: json.dumps(value) for key, value in {**METADATA, "classes": list(names)}.items()}
    entries |= metadata or {}
    onnx.helper.set_model_props(model, {key: value for key, value in entries.items() if value is not None})
    onnx.save(model, path)
    return path, network
