"""Teacher: a larger segmentation network in ONNX, whose class probabilities the trained network learns as well.

Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", at temperature 1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from erfnet_ros.core.errors import TrainingError

_METADATA = ("classes", "mean", "std")


class Teacher:
    """Class probabilities of an ONNX network, for the classes that it shares with the one that is trained.

    The file has one input, images (N, 3, H, W) float, and as its first output class scores (N, C, h, w) of any size.
    Its metadata are JSON: `classes`, a list of C names; `mean` and `std`, lists of three numbers, by which RGB in 0..1
    is normalized. Fixed sizes of the input are respected: images are resized, and given one by one.

    Args:
        path: The ONNX file.
        class_names: Of the network that is trained; classes of one name are shared.
        device: Where that network is; on a GPU the teacher runs there too, if ONNX Runtime has it.

    Attributes:
        class_ids: (K,) int64 ids of the shared classes in the trained network.

    Raises:
        TrainingError: The file is not such a network, or shares fewer than two classes.
    """

    def __init__(self, path: Path, class_names: Sequence[str], device: torch.device) -> None:
        onnxruntime: Any = import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        wanted = ["CUDAExecutionProvider"] * (device.type == "cuda") + ["CPUExecutionProvider"]
        providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers)
        except Exception as error:  # ONNX Runtime's errors have no common class.
            raise TrainingError(f"Expected an ONNX file as --teacher, got '{path}': {error}") from error
        inputs, output = self._session.get_inputs(), self._session.get_outputs()[0]
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or len(output.shape) != 4 or "float" not in inputs[0].type:
            raise TrainingError(
                f"Expected a teacher with one input, images (N, 3, H, W) float, and class scores (N, C, h, w), got "
                f"{[(item.shape, item.type) for item in inputs]} and {output.shape} in '{path}'; export the network so."
            )
        self._input = inputs[0]
        names, mean, std = self._read_metadata(path)
        if isinstance(output.shape[1], int) and output.shape[1] != len(names):
            raise TrainingError(
                f"Expected a name in the metadata 'classes' of '{path}' for each of its {output.shape[1]} classes, got "
                f"{len(names)}."
            )
        shared = [name for name in class_names if name in names]
        if len(shared) < 2:
            raise TrainingError(
                f"Expected a teacher that shares two classes or more with {', '.join(class_names)}, got "
                f"{', '.join(names)} in '{path}'; give classes that are the same the same name in its metadata."
            )
        self._own_ids = torch.tensor([names.index(name) for name in shared])
        self.class_ids = torch.tensor([list(class_names).index(name) for name in shared], device=device)
        self._mean, self._std = (torch.tensor(values).view(1, 3, 1, 1) for values in (mean, std))

    def probabilities(self, images: Tensor) -> Tensor:
        """Return the probabilities (N, K, h, w) float32 of the shared classes, at the teacher's own size.

        They sum to less than 1 where the teacher sees something that the trained network does not know.

        Args:
            images: (N, 3, H, W) float32 RGB in 0..1, as the trained network sees them.
        """
        x = (images.detach().cpu() - self._mean) / self._std
        batch, _, *size = self._input.shape
        if all(isinstance(side, int) for side in size):
            x = F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
        pixels = x.contiguous().numpy().astype(np.float16 if "16" in self._input.type else np.float32)
        parts = np.split(pixels, len(pixels)) if isinstance(batch, int) else [pixels]
        scores = np.concatenate([self._session.run(None, {self._input.name: part})[0] for part in parts])
        probabilities = torch.from_numpy(scores).float().softmax(1)[:, self._own_ids]
        return probabilities.to(images.device)

    def _read_metadata(self, path: Path) -> tuple[list[str], list[float], list[float]]:
        found = self._session.get_modelmeta().custom_metadata_map
        try:
            names, mean, std = (json.loads(found[key]) for key in _METADATA)
            return [str(name) for name in names], _three(mean), _three(std)
        except (KeyError, ValueError, TypeError) as error:
            shown = ", ".join(f"{key}: {found.get(key, 'missing')}" for key in _METADATA)
            raise TrainingError(
                f"Expected JSON lists 'classes' (names), 'mean' and 'std' (three numbers each) in the metadata of "
                f"'{path}', got {shown}; add them with onnx.helper.set_model_props."
            ) from error


def _three(values: Any) -> list[float]:
    """Return three finite numbers, else raise ValueError."""
    numbers = [float(value) for value in values]
    if len(numbers) != 3 or not np.isfinite(numbers).all():
        raise ValueError
    return numbers
