"""Parity check: an engine that was built is compared with PyTorch in fp32 before its first use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import EngineError
from erfnet_ros.inference.engine import Run
from erfnet_ros.models.checkpoint import Checkpoint
from erfnet_ros.models.pipeline import Pipeline

MIN_AGREEMENT = 0.995
"""Share of the pixels on which an engine must choose the class that PyTorch chooses in fp32."""

_STREETS = Path(__file__).with_name("streets.png")
_NOISE = 24


def fingerprint(checkpoint: Checkpoint) -> str:
    """Return a hash of all that decides what a checkpoint's network answers: weights, classes, scaling, sizes."""
    meaning = [checkpoint.class_set.to_dict(), checkpoint.input_size, checkpoint.mean, checkpoint.std]
    digest = hashlib.sha256(json.dumps(meaning, sort_keys=True).encode())
    for name, tensor in sorted(checkpoint.state_dict.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def check_images() -> Pixels:
    """Return two stored frames of the synthetic street, (2, 120, 160, 3) uint8 RGB."""
    both = cv2.cvtColor(cv2.imread(str(_STREETS)), cv2.COLOR_BGR2RGB)  # type: ignore[arg-type]
    return both.reshape(2, -1, *both.shape[1:]).astype(np.uint8, copy=False)


def street(size: tuple[int, int]) -> Pixels:
    """Return the first of `check_images`, enlarged or reduced to a (width, height)."""
    return np.asarray(cv2.resize(check_images()[0], size, interpolation=cv2.INTER_CUBIC), np.uint8)


def compare(run: Run, pipeline: Pipeline, image: Pixels) -> tuple[float, float]:
    """Compare an engine with the Pipeline in fp32 on the CPU, on an image (1, H, W, 3) uint8 RGB.

    Returns:
        The share of pixels with the same class, and the largest difference of the confidences there, 0..1 each.
    """
    labels, confidence = run(image)
    with torch.inference_mode():
        expected, expected_confidence = (tensor.numpy() for tensor in pipeline(torch.from_numpy(image)))
    same = labels == expected
    apart = np.abs(confidence.astype(np.int16) - expected_confidence)[same]
    return float(same.mean()), float(apart.max(initial=0)) / 255


def check_parity(run: Run, pipeline: Pipeline, *, name: str, sizes: Sequence[tuple[int, int]]) -> float:
    """Return the share of pixels on which an engine chooses PyTorch's class.

    Two frames of each (width, height) are compared, a street and the same with noise; see `compare`.

    Raises:
        EngineError: The share is below `MIN_AGREEMENT`; the message calls the engine `name`.
    """
    agreed = float(np.mean([compare(run, pipeline, frame)[0] for size in sizes for frame in _frames(size)]))
    if agreed < MIN_AGREEMENT:
        raise EngineError(
            f"Expected {name} to choose PyTorch's class on at least {100 * MIN_AGREEMENT:g} % of the pixels, got "
            f"{100 * agreed:.2f} %; it is not used. Set engine to pytorch, or precision to fp32."
        )
    return agreed


def _frames(size: tuple[int, int]) -> list[Pixels]:
    """Return a street and the same with noise, (1, H, W, 3) each."""
    plain = street(size)
    noise = np.random.default_rng(0).integers(-_NOISE, _NOISE + 1, plain.shape)
    return [plain[None], np.clip(plain + noise, 0, 255).astype(np.uint8)[None]]
