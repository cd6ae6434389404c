"""ERFNet compared with the authors' network: parameters and outputs."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from erfnet_ros.models.erfnet import ERFNet

PARITY = Path(__file__).resolve().parents[3] / "shared" / "parity"
needs_parity = pytest.mark.skipif(
    not PARITY.is_dir(), reason="the authors' reference numbers (../shared/parity) are absent"
)


def reference_tensor(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The formula behind the reference numbers (shared/parity/README.md)."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("running_var"):
        return torch.from_numpy(random.uniform(0.5, 1.5, shape).astype(np.float32))
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1)
    x = random.standard_normal(shape).astype(np.float32)
    if len(shape) == 4:
        x = x / np.sqrt(np.float32(shape[1] * shape[2] * shape[3]))
    elif name.endswith(".weight"):
        x = 1 + np.float32(0.1) * x
    else:
        x = np.float32(0.1) * x
    return torch.from_numpy(x.astype(np.float32))


@needs_parity
def test_parameters_are_named_and_shaped_as_the_authors_have_them() -> None:
    expected = [
        (name, tuple(shape), dtype) for name, shape, dtype in json.loads((PARITY / "state_dict.json").read_text())
    ]
    actual = [
        (name, tuple(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in ERFNet(20).state_dict().items()
    ]
    assert actual == expected


@needs_parity
def test_outputs_equal_the_authors_network() -> None:
    network = ERFNet(20).eval()
    network.load_state_dict({name: reference_tensor(name, tuple(t.shape)) for name, t in network.state_dict().items()})
    reference = np.load(PARITY / "reference.npz")
    image = torch.from_numpy(reference["image"])
    with torch.inference_mode():
        np.testing.assert_allclose(network(image).numpy(), reference["logits"], atol=1e-4)
        np.testing.assert_allclose(network.encoder.predict(image).numpy(), reference["encoder_logits"], atol=1e-4)


def test_it_is_the_small_network_of_the_paper() -> None:
    assert sum(p.numel() for p in ERFNet(20).parameters()) == 2_066_836


@pytest.mark.parametrize("size", [(8, 8), (9, 15), (45, 61), (1, 1)])
def test_any_input_size_gives_logits_of_that_size(size: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert ERFNet(3).eval()(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_padding_leaves_the_original_pixels_alone() -> None:
    """A camera of 45 rows sees the same labels as the same view with its last row repeated to 48."""
    torch.manual_seed(0)
    network = ERFNet(4).eval()
    image = torch.rand(1, 3, 45, 64)
    padded = torch.cat([image, image[:, :, -1:].expand(-1, -1, 3, -1)], 2)
    with torch.inference_mode():
        torch.testing.assert_close(network(image), network(padded)[:, :, :45])


def test_no_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 class, got num_classes=0"):
        ERFNet(0)
