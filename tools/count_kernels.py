"""GPU kernels and memory traffic of a frame, counted by its operators over tensors without memory: no GPU is needed.

    python tools/count_kernels.py

An operator that computes is a kernel, and a convolution's bias another, as cuDNN's plain convolutions have it. The
copies from and to the host are none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from erfnet_ros.inference.pytorch.cuda import channels_last
from erfnet_ros.inference.pytorch.fused_gpu import FusedNetwork, TritonWork, plain_work
from erfnet_ros.models import checkpoint as checkpoints
from erfnet_ros.models.pipeline import Pipeline

aten = torch.ops.aten

NO_KERNEL = ("empty", "empty_like", "empty_strided", "detach", "alias", "_unsafe_view", "lift_fresh")


CONVOLUTIONS = ("conv2d", "conv_transpose2d", "convolution")


@dataclass
class Count:
    """Kernels, and the bytes that they read and write."""

    kernels: int = 0
    traffic: int = 0

    def add(self, kernels: int, tensors: Iterable[object]) -> None:
        self.kernels += kernels
        self.traffic += sum(tensor.nbytes for tensor in tensors if isinstance(tensor, Tensor))


class OperatorCount(TorchDispatchMode):
    """Count what runs within; cuDNN's fused convolutions, which no CPU has, are computed by their definition."""

    def __init__(self) -> None:
        super().__init__()
        self.count = Count()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        name = func.overloadpacket.__name__
        if name == "cudnn_convolution_relu":
            found = aten.convolution(*args[:6], False, [0, 0], 1).relu_()
        elif name == "cudnn_convolution_add_relu":
            x, weight, z, _, *geometry = args
            found = aten.convolution(x, weight, *geometry[:4], False, [0, 0], 1).add_(z).relu_()
        else:
            found = func(*args, **(kwargs or {}))
        if not func.is_view and name not in NO_KERNEL:
            read = args[1:] if name == "copy_" else [*args, *(kwargs or {}).values()]
            inputs = [item for value in read for item in (value if isinstance(value, (list, tuple)) else [value])]
            biased = name in CONVOLUTIONS and args[2] is not None
            self.count.add(1 + biased, [*inputs, *(found if isinstance(found, (list, tuple)) else [found])])
            if biased:
                self.count.add(0, [found, found])
        return found


def counted_kernels(count: Count) -> SimpleNamespace:
    """Return what has the functions of `triton_kernels`, and counts in place of computing."""

    def resize_and_scale(
        images: Tensor, *_: Tensor, size: object, padded: tuple[int, int], dtype: torch.dtype
    ) -> Tensor:
        resized = torch.empty(len(images), padded[1], padded[0], 3, dtype=dtype, device=images.device)
        count.add(1, [images, resized])
        return resized.permute(0, 3, 1, 2)

    def write_labels(logits: Tensor, labels: Tensor, confidences: Tensor) -> None:
        count.add(1, [logits, labels, confidences])

    return SimpleNamespace(resize_and_scale=resize_and_scale, write_labels=write_labels)


def count_frame(
    camera: tuple[int, int], *, fused: bool, whole: bool = True, input_size: tuple[int, int] | None = None
) -> Count:
    """Return what one image of (width, height) takes in fp16.

    Args:
        camera: (width, height) of the image.
        fused: Whether as `fuse` has it where all agrees, or in PyTorch's plain layers.
        whole: Whether all is counted, or what comes after the network alone.
        input_size: As `EngineRequest` has it.
    """
    pipeline = channels_last(Pipeline(checkpoints.load(), input_size).eval().to("meta", torch.float16))
    counting = OperatorCount()
    if fused:
        pipeline.network = FusedNetwork(pipeline.network)  # type: ignore[assignment]
        work: Any = TritonWork(pipeline, counted_kernels(counting.count))
    else:
        work = partial(plain_work, pipeline)
    images = torch.empty(1, camera[1], camera[0], 3, dtype=torch.uint8, device="meta")
    labels, confidences = torch.empty(2, 1, camera[1], camera[0], dtype=torch.uint8, device="meta")
    before = Count()

    def keep(*_: object) -> None:
        nonlocal before
        before = replace(counting.count)

    pipeline.network.register_forward_hook(keep)
    with torch.inference_mode(), counting:
        work(images, labels, confidences)
    if whole:
        return counting.count
    return Count(counting.count.kernels - before.kernels, counting.count.traffic - before.traffic)


def main() -> None:
    """Print the counts."""
    for camera, input_size in (((1024, 512), (1024, 512)), ((1920, 1080), None)):
        for fused in (False, True):
            frame = count_frame(camera, fused=fused, input_size=input_size)
            tail = count_frame(camera, fused=fused, whole=False, input_size=input_size)
            print(
                f"{camera[0]}x{camera[1]} {'fused' if fused else 'plain'}: {frame.kernels} kernels, "
                f"{frame.traffic / 1e6:.0f} MB; after the network {tail.kernels} and {tail.traffic / 1e6:.1f} MB"
            )


if __name__ == "__main__":
    main()
