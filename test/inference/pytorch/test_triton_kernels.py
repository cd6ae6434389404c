"""Triton kernels in the interpreter, compared with PyTorch, and compiled for the GPUs that robots have."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from erfnet_ros.models.pipeline import answers, resize, upsample

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    # Read when Triton's own functions and the kernels are defined.
    os.environ["TRITON_INTERPRET"] = "1"
triton_kernels = pytest.importorskip(
    "erfnet_ros.inference.pytorch.triton_kernels", reason="needs Triton (pip install triton)"
)

SIDES = st.integers(8, 30)
CAMERA = st.tuples(st.integers(8, 300), st.integers(8, 24))
"""A row of more than one block is cut."""


@settings(max_examples=8, derandomize=True)
@given(st.tuples(SIDES, SIDES), CAMERA, st.sampled_from((2, 5, 11)), st.booleans(), st.booleans())
@example((9, 8), (20, 11), 64, True, True)
def test_labels_and_confidences_are_those_of_pytorch(
    network: tuple[int, int], camera: tuple[int, int], classes: int, half: bool, channels_last: bool
) -> None:
    generator = torch.Generator().manual_seed(classes)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    # Padded beyond the network's size, as the network gives them.
    padded = 4 * torch.randn(2, classes, network[1] + 3, network[0] + 5, generator=generator)
    padded = padded.to(DEVICE, torch.float16 if half else torch.float32).contiguous(memory_format=layout)
    logits = padded[..., : network[1], : network[0]]
    labels, confidences = torch.zeros(2, 2, camera[1], camera[0], dtype=torch.uint8, device=DEVICE)
    triton_kernels.write_labels(logits, labels, confidences)
    expected, sure = answers(upsample(logits.float(), (camera[1], camera[0])))
    # Random scores lie closer to each other than a network's.
    assert (labels == expected).float().mean() >= 0.999
    assert (confidences.int() - sure.int()).abs()[labels == expected].max() <= 1


@settings(max_examples=8, derandomize=True)
@given(st.tuples(SIDES, SIDES), CAMERA, st.booleans())
def test_network_input_is_that_of_pytorch(network: tuple[int, int], camera: tuple[int, int], half: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, camera[1], camera[0], 3), dtype=torch.uint8, generator=generator).to(DEVICE)
    mean, deviation = torch.tensor([[10.0, 100.0, 120.0], [255.0, 60.0, 80.0]], device=DEVICE)
    dtype = torch.float16 if half else torch.float32
    padded = (network[0] + -network[0] % 8, network[1] + -network[1] % 8)
    found = triton_kernels.resize_and_scale(images, mean, deviation, size=network, padded=padded, dtype=dtype)
    assert found.dtype == dtype
    assert found.is_contiguous(memory_format=torch.channels_last)
    resized = resize(images.float().permute(0, 3, 1, 2), (network[1], network[0]))
    scaled = (resized - mean[:, None, None]) / deviation[:, None, None]
    torch.testing.assert_close(found.float(), _padded(scaled, padded), atol=2e-3 if half else 1e-4, rtol=1e-3)


def _padded(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.pad(x, (0, size[0] - x.shape[3], 0, size[1] - x.shape[2]), mode="replicate")


def test_equal_scores_give_the_first_class() -> None:
    """As an argmax does; else flat regions would change their label with the engine."""
    labels, confidences = torch.full((2, 1, 12, 16), 9, dtype=torch.uint8, device=DEVICE)
    triton_kernels.write_labels(torch.zeros(1, 5, 6, 8, device=DEVICE), labels, confidences)
    assert (labels == 0).all()
    assert (confidences == 51).all()


COMPILE = """
import subprocess
import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from erfnet_ros.inference.pytorch.triton_kernels import label_kernel, resize_kernel

for kernel, pointers, constants in (
    (label_kernel, {"logits": "*fp16"}, {"CLASSES": 11}),
    (label_kernel, {"logits": "*fp32"}, {"CLASSES": 64}),
    (resize_kernel, {"resized": "*fp16", "mean": "*fp32", "deviation": "*fp32"}, {"ROWS": 3, "COLUMNS": 3}),
):
    constants = {**constants, "BLOCK": 256}
    bytes_ = dict.fromkeys(("labels", "confidences", "images"), "*u8")
    floats = dict.fromkeys(("scale_down", "scale_right"), "fp32")
    types = {**bytes_, **floats, **pointers, **dict.fromkeys(constants, "constexpr")}
    signature = {name: types.get(name, "i32") for name in kernel.arg_names}
    source = ASTSource(kernel, signature, constexprs=constants)
    compiled = triton.compile(source, target=GPUTarget("cuda", int(sys.argv[1]), 32))
    with open(sys.argv[2], "wb") as file:
        file.write(compiled.asm["cubin"])
    tool = str(triton.knobs.nvidia.cuobjdump.path)
    print(subprocess.check_output([tool, "--dump-resource-usage", sys.argv[2]], text=True))
"""


@pytest.mark.parametrize("architecture", [80, 87, 89, 90])
def test_kernels_compile_without_spills(
    architecture: int, tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """Orin is 87, RTX 40 is 89, H100 is 90. A spilled register costs a trip to memory for each pixel."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", COMPILE, str(architecture), f"{tmp_path}/kernel.cubin"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    usage = re.findall(r"Function (\w+):\s+REG:(\d+) STACK:(\d+) .*?LOCAL:(\d+)", done.stdout)
    with capsys.disabled():
        print(f"\nsm_{architecture} (kernel, registers, stack, local):", *map(", ".join, usage), sep="\n  ")
    assert len(usage) == 3
    for _, registers, stack, local in usage:
        assert int(registers) <= 64
        assert int(stack) == int(local) == 0
