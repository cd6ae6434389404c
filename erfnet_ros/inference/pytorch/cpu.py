"""CPU inference: one compute thread, resizing by OpenCV, a network for the logits, border upsampling of the labels."""

from __future__ import annotations

import functools
import os
import platform
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.image import contiguous_batch
from erfnet_ros.inference.device import has_bf16_units, has_fused_layers
from erfnet_ros.inference.parity_check import check_images
from erfnet_ros.inference.pytorch.border_upsampling import upsample_labels
from erfnet_ros.inference.pytorch.onednn import OneDnnNetwork
from erfnet_ros.models.erfnet import STRIDE
from erfnet_ros.models.pipeline import Pipeline, network_size

Network = Callable[[Tensor], Iterable[Tensor]]
"""Takes (N, H, W, 3) uint8 images, H and W multiples of 8; returns each one's logits as `LastLayer` does."""

Result = TypeVar("Result")

_NAME = "erfnet_engine"


def on_single_thread(work: Callable[..., Result], *arguments: object) -> Result:
    """Return `work(*arguments)`, computed on one thread that all of PyTorch's work on the CPU shares.

    OpenMP keeps a team of threads for every thread that computes. As soon as all teams together outnumber the
    processors, GNU's library lets each thread sleep between two layers instead of spinning, and ERFNet has a hundred
    layers: on two cores an image took 44 to 57 ms from a node's callback threads, and 35 ms from one fixed thread.

    The work runs with as many threads as the caller's PyTorch has set; its exceptions are raised here.
    """
    if threading.current_thread().name.startswith(_NAME):
        return work(*arguments)
    return _executor().submit(_with_threads, torch.get_num_threads(), work, arguments).result()


@functools.cache
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, _NAME)


# A forked process has the executor, but not its thread.
os.register_at_fork(after_in_child=_executor.cache_clear)


def _with_threads(count: int, work: Callable[..., Result], arguments: tuple[object, ...]) -> Result:
    # The number of threads is a thread's own setting.
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
    return work(*arguments)


class CpuPipeline:
    """The steps of `Pipeline` around any network, with as little memory traffic as possible."""

    def __init__(self, network: Network, trained_size: tuple[int, int], input_size: tuple[int, int] | None) -> None:
        self._network, self._trained_size, self._input_size = network, trained_size, input_size

    def __call__(self, images: Pixels) -> tuple[Pixels, Pixels]:
        """Return labels and confidences, (N, H, W) uint8 each, of (N, H, W, 3) uint8 images."""
        images = contiguous_batch(images)
        camera = (images.shape[2], images.shape[1])
        size = network_size(camera, self._trained_size, self._input_size)
        seen = (
            images
            if camera == size and _padding(size) == (0, 0)
            else np.stack([_seen(image, size) for image in images])
        )
        with torch.inference_mode():
            results = [upsample_labels(logits, size, camera) for logits in self._network(torch.from_numpy(seen))]
        if len(results) == 1:
            return results[0][0][None], results[0][1][None]
        return np.stack([labels for labels, _ in results]), np.stack([confidence for _, confidence in results])


def fused_pipeline(
    pipeline: Pipeline, precision: str, ranges: Mapping[str, float] | None
) -> tuple[CpuPipeline | None, str]:
    """Return the fused pipeline where it works here and agrees with the plain one; else None and the reason.

    Args:
        pipeline: In fp32 on the CPU.
        precision: fp32, bf16 or int8; what int8 leaves in floats is in bf16 where the processor has units for it.
        ranges: Of the activations, for int8; None for a network all in floats.
    """
    if not has_fused_layers():
        return None, f"oneDNN's fused layers are for x86 processors, and this is {platform.machine()}"
    try:
        in_bf16 = precision == "bf16" or (precision == "int8" and has_bf16_units())
        network = OneDnnNetwork(pipeline, torch.bfloat16 if in_bf16 else torch.float32, ranges)
        same = share_of_plain(network, pipeline)
    except (AttributeError, RuntimeError, TypeError) as error:
        # The operators are private to PyTorch and may change with its version.
        return None, f"PyTorch {torch.__version__} has other fused layers ({type(error).__name__}: {error})"
    if same < _MIN_AGREEMENT[precision]:
        return None, f"its fused layers choose the class of the plain ones on {100 * same:.2f} % of the pixels only"
    return CpuPipeline(network, pipeline.trained_size, pipeline.input_size), ""


def share_of_plain(network: Network, pipeline: Pipeline) -> float:
    """Return the share of pixels of `check_images` on which a network chooses the class of the plain layers."""
    images = torch.from_numpy(check_images())
    size = (images.shape[2], images.shape[1])
    with torch.inference_mode():
        expected = pipeline.logits(images.float().permute(0, 3, 1, 2)).argmax(1).numpy()
        found = np.stack([upsample_labels(logits, size, size)[0] for logits in network(images)])
    return float((found == expected).mean())


_MIN_AGREEMENT = {"fp32": 0.99, "bf16": 0.98, "int8": 0.96}
"""Share of the pixels of `check_images` below which PyTorch's private operators compute something else."""


def _seen(image: Pixels, size: tuple[int, int]) -> Pixels:
    """Return an image at the network's (width, height), padded as the network pads; as `pipeline.resize` does it."""
    height, width = image.shape[:2]
    rows, columns = max(1, height // size[1]), max(1, width // size[0])
    if (rows, columns) != (1, 1):
        whole = image[: height // rows * rows, : width // columns * columns]
        image = cv2.resize(whole, (width // columns, height // rows), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    if (image.shape[1], image.shape[0]) != size:
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    right, bottom = _padding(size)
    return cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE).astype(np.uint8, copy=False)


def _padding(size: tuple[int, int]) -> tuple[int, int]:
    return -size[0] % STRIDE, -size[1] % STRIDE
