"""Device and precision selection."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import torch

from erfnet_ros.core.errors import EngineError
from erfnet_ros.core.system_info import nvidia_driver
from erfnet_ros.inference.engine import DEVICES, FLOATS
from erfnet_ros.inference.parity_check import MIN_AGREEMENT
from erfnet_ros.models.checkpoint import Calibration
from erfnet_ros.models.quantization import ranges_of

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

_JETSON = Path("/etc/nv_tegra_release")


def pick_device(device: str) -> torch.device:
    """Return the device that the option names; raise EngineError where it is unknown or not there."""
    count = gpu_count()
    if device == "auto":
        return torch.device("cuda:0" if count else "cpu")
    if device == "cpu":
        return torch.device("cpu")
    index = gpu_index(device)
    if index >= count:
        found = f"{count} GPU(s)" if count else "no GPU (no driver, or a CPU build of PyTorch)"
        raise EngineError(
            f"Device '{device}' was asked for, but PyTorch {torch.__version__} sees {found}; set device to auto or cpu."
        )
    return torch.device("cuda", index)


def gpu_count() -> int:
    """Return how many GPUs PyTorch can use."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def gpu_index(device: str) -> int:
    """Return N of "cuda:N", and 0 of "cuda"; raise EngineError for another word."""
    match = re.fullmatch(r"cuda(?::(\d+))?", device)
    if match is None:
        raise EngineError(f"Expected device to be {DEVICES}, got '{device}'.")
    return int(match[1] or 0)


def unused_gpu() -> str:
    """Return a note with the remedy where the machine has an NVIDIA GPU that PyTorch cannot use; else nothing."""
    jetson = _JETSON.exists()
    if torch.cuda.is_available() or not (jetson or nvidia_driver()):
        return ""
    if jetson:
        remedy = (
            "on a Jetson, 'pip install torch' brings a build for CPUs: install NVIDIA's PyTorch for this JetPack "
            "(https://docs.nvidia.com/deeplearning/frameworks/install-pytorch-jetson-platform)"
        )
    elif torch.version.cuda is None:
        remedy = "install a build for CUDA (https://pytorch.org/get-started/locally)"
    else:
        remedy = (
            f"check that nvidia-smi runs, and that the driver is recent enough for CUDA {torch.version.cuda}; in a "
            "container, start it with --gpus all"
        )
    build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for CPUs"
    return (
        "This machine has an NVIDIA driver, but the network runs on the CPU, which is slower: PyTorch "
        f"{torch.__version__}, {build}, sees no GPU; {remedy}."
    )


def pick_precision(
    precision: str, device: torch.device, calibration: Calibration | None
) -> tuple[str, tuple[str, ...]]:
    """Return the precision that the option names, with a note where a faster one cannot be used.

    Args:
        precision: auto is fp16 on a GPU; on a CPU int8 where the checkpoint's calibration says that it answers as fp32
            does (`MIN_AGREEMENT`), else bf16 where there are units for it, else fp32.
        device: Where the network runs.
        calibration: The checkpoint's, without which there is no int8.

    Raises:
        EngineError: The device does not compute in it.
    """
    if precision == "int8":
        if device.type == "cuda":
            raise EngineError(
                f"Precision 'int8' was asked for, but PyTorch computes it on CPUs only, not on {device}; set auto or "
                "fp16, or engine to tensorrt."
            )
        ranges_of(calibration)
        return precision, ()
    floats = pick_floats(precision, device)
    if precision != "auto" or device.type == "cuda" or not has_fused_layers():
        return floats, ()
    if calibration is None:
        return floats, (
            f"The network runs in {floats}; int8 is faster, once the weights went through erfnet calibrate.",
        )
    if calibration.agreement < MIN_AGREEMENT:
        same = f"{100 * calibration.agreement:.2f} % of the pixels"
        return floats, (f"The network runs in {floats}: int8 chooses the class of fp32 on {same} only.",)
    return "int8", ()


def pick_floats(precision: str, device: torch.device) -> str:
    """Return the floating-point precision that the option names, else raise EngineError.

    auto is fp16 on a GPU, bf16 on a CPU with units for it, or fp32.
    """
    if precision not in FLOATS:
        raise EngineError(f"Expected precision to be one of {', '.join(FLOATS)} here, got '{precision}'.")
    if device.type == "cuda":
        return "fp16" if precision == "auto" else precision
    native = ("bf16", "fp32") if has_bf16_units() else ("fp32",)
    if precision == "auto":
        return native[0]
    if precision not in native:
        raise EngineError(
            f"Precision '{precision}' was asked for on a CPU that has no units for it and would take longer than in "
            f"fp32; set auto, int8, {' or '.join(native)}."
        )
    return precision


def has_fused_layers() -> bool:
    """Tell whether oneDNN's fused layers are available: in PyTorch for x86 processors."""
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return there and platform.machine() in ("x86_64", "AMD64")


def has_bf16_units() -> bool:
    """Tell whether this processor multiplies bf16 natively (AVX-512 BF16, AMX, or ARM's BF16)."""
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    # oneDNN may be held to an older instruction set than the processor's (ONEDNN_MAX_CPU_ISA).
    if has_fused_layers() and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))
