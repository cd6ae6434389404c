"""PyTorch runs the Pipeline, on a CPU or an NVIDIA GPU."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import torch

from erfnet_ros.checkpoint import Checkpoint
from erfnet_ros.engines.names import DEVICES, PRECISIONS
from erfnet_ros.errors import EngineError
from erfnet_ros.pipeline import Pipeline

Pixels = npt.NDArray[np.uint8]

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class PyTorchEngine:
    """See `erfnet_ros.engines.Engine` and `open_engine`."""

    name = "pytorch"

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str = "auto",
        precision: str = "auto",
        input_size: tuple[int, int] | None = None,
    ) -> None:
        self._device = pick_device(device)
        self.device = str(self._device)
        self.precision, self.notes = pick_precision(precision, self._device)
        pipeline = Pipeline(checkpoint, input_size).eval()
        # Channels last: what both cuDNN's and oneDNN's fast convolutions read.
        self._pipeline = pipeline.to(self._device, DTYPES[self.precision])
        self._pipeline.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, images: Pixels) -> tuple[Pixels, Pixels]:
        """See `erfnet_ros.engines.Engine`."""
        try:
            with torch.inference_mode():
                labels, confidence = self._pipeline(torch.from_numpy(images).to(self._device))
                return labels.cpu().numpy(), confidence.cpu().numpy()
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise EngineError(
                f"The memory of {self.device} does not hold {len(images)} image(s) of {images.shape[2]}x{images.shape[1]}; "
                "set a smaller input_size, or free the GPU."
            ) from error

    def close(self) -> None:
        """Free the weights, and the GPU's memory that PyTorch keeps for later."""
        del self._pipeline
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def pick_device(device: str) -> torch.device:
    """Turn the user's word into a device that exists.

    Raises:
        EngineError: The word is unknown, or names a GPU that is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return torch.device("cuda:0" if count else "cpu")
    if device == "cpu":
        return torch.device("cpu")
    match = re.fullmatch(r"cuda(?::(\d+))?", device)
    if match is None:
        raise EngineError(f"Expected device to be {DEVICES}, got '{device}'.")
    index = int(match[1] or 0)
    if index >= count:
        found = f"{count} GPU(s)" if count else "no GPU (no driver, or a CPU build of PyTorch)"
        raise EngineError(
            f"Device '{device}' was asked for, but PyTorch {torch.__version__} sees {found}; set device to auto or cpu."
        )
    return torch.device("cuda", index)


def pick_precision(precision: str, device: torch.device) -> tuple[str, tuple[str, ...]]:
    """Turn the user's word into a precision, with notes on what was chosen for want of something better.

    Raises:
        EngineError: The word is unknown, or the device does not compute in it.
    """
    if precision not in PRECISIONS:
        raise EngineError(f"Expected precision to be one of {', '.join(PRECISIONS)}, got '{precision}'.")
    if device.type == "cuda":
        return ("fp16" if precision == "auto" else precision), ()
    if precision == "fp16":
        raise EngineError(
            "Precision 'fp16' was asked for on a CPU, which computes it slower than fp32; set auto, bf16 or fp32."
        )
    if precision != "auto":
        return precision, ()
    if has_bf16_units():
        return "bf16", ()
    return "fp32", ("The processor has no bf16 units, so the network runs in fp32, at about half the speed.",)


def has_bf16_units() -> bool:
    """Tell whether this processor multiplies bf16 natively (AVX-512 BF16, AMX, or ARM's BF16)."""
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))
