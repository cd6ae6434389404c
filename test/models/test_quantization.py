"""Activation ranges, and the command that calibrates a checkpoint."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
import torch
from torch import nn

from erfnet_ros.commands.cli import main
from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.inference.segmenter import Segmenter
from erfnet_ros.models.checkpoint import DEFAULT, load
from erfnet_ros.models.erfnet import ACTIVATIONS, DownsamplerBlock, ERFNet, NonBottleneck1d, UpsamplerBlock
from erfnet_ros.models.pipeline import Pipeline
from erfnet_ros.models.quantization import activation_ranges


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = tmp_path_factory.mktemp("images")
    for index in range(3):
        cv2.imwrite(str(images / f"{index}.png"), Street(index, (96, 64)).frame(0)[0][..., ::-1])
    return images


def test_every_relu_of_the_network_has_its_name() -> None:
    network = ERFNet(2)
    blocks = (DownsamplerBlock, NonBottleneck1d, UpsamplerBlock)
    expected = {name for name, module in network.named_modules() if isinstance(module, blocks)}
    expected |= {
        f"{name}.{inner}"
        for name, module in network.named_modules()
        if isinstance(module, NonBottleneck1d)
        for inner in ("conv3x1_1", "conv1x3_1", "conv3x1_2")
    }
    assert set(ACTIVATIONS) == expected
    assert len(ACTIVATIONS) == len(expected)


def test_ranges_are_what_nearly_all_values_stay_below() -> None:
    """The largest of a million values is an accident, and would waste the bytes of all others."""
    pipeline = Pipeline(load(), (480, 360)).eval()
    images = torch.from_numpy(Street(1, (480, 360)).frame(0)[0])[None]
    ranges = activation_ranges(pipeline, [images])
    assert list(ranges) == list(ACTIVATIONS)
    seen: list[torch.Tensor] = []
    pipeline.network.encoder.initial_block.register_forward_hook(lambda *call: seen.append(call[2].clone()))
    with torch.inference_mode():
        pipeline(images)
    assert (seen[0] > ranges["encoder.initial_block"]).sum() <= 1e-5 * seen[0].numel()
    assert seen[0].max() > ranges["encoder.initial_block"]


def test_a_layer_that_is_never_active_has_a_range_above_zero() -> None:
    """A scale of 0 would divide by it."""
    pipeline = Pipeline(load(), (96, 64)).eval()
    layer = pipeline.network.encoder.layers[3].conv3x1_1
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, -1.0)
    ranges = activation_ranges(pipeline, [torch.zeros(1, 64, 96, 3, dtype=torch.uint8)])
    assert ranges["encoder.layers.3.conv3x1_1"] > 0


def test_calibrating_makes_a_checkpoint_that_runs_in_int8(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "calibrated.safetensors"
    assert main(["calibrate", str(DEFAULT), "--images", str(folder), "-o", str(out)]) == 0
    assert "calibrated on 3 images; int8 chooses the class of fp32 on 9" in capsys.readouterr().out
    segmenter = Segmenter(out, device="cpu", precision="int8")
    assert segmenter.engine.precision == "int8"
    assert segmenter(Street(8, (96, 64)).frame(0)[0]).labels.shape == (64, 96)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("--frames", "0"), "limit of 1 frame or more, got 0"),
        (("--images", "/nonexistent/images"), "'/nonexistent/images', which does not exist"),
    ],
)
def test_what_cannot_be_calibrated_on_is_refused(
    folder: Path, tmp_path: Path, change: tuple[str, str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.safetensors"
    assert main(["calibrate", str(DEFAULT), "--images", str(folder), "-o", str(out), *change]) == 2
    assert text in capsys.readouterr().err
    assert not out.exists()
