"""Initial weights: networks of other classes, and encoders alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import CheckpointError
from erfnet_ros.models import checkpoint as checkpoints
from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.training.initial_weights import InitialWeights

OWN = ("lawn", "car", "sky")


def started(path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the tensors of a network of `OWN`, before and after it took the file's."""
    network = ERFNet(len(OWN))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    InitialWeights.read(path).copy_to(network, OWN)
    return before, network.state_dict()


def body(state: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if name.startswith(part) and ".output_conv" not in name}


def test_all_but_the_heads_is_taken_and_classes_of_the_same_name_keep_their_rows(tmp_path: Path) -> None:
    classes = ClassSet("theirs", ("sky", "road", "tree", "car"), ((1, 1, 1),) * 4)
    path = tmp_path / "theirs.safetensors"
    checkpoints.save(checkpoints.Checkpoint(classes, ERFNet(4).state_dict(), (64, 48), "", None, ""), path)
    theirs = checkpoints.load(path).state_dict
    before, after = started(path)
    for name, tensor in body(after, "").items():
        assert torch.equal(tensor, theirs[name]), name
    for head, axis in (("encoder.output_conv", 0), ("decoder.output_conv", 1)):
        for own, other in ((1, 3), (2, 0)):
            row = after[f"{head}.weight"].select(axis, own)
            assert torch.equal(row, theirs[f"{head}.weight"].select(axis, other))
            assert after[f"{head}.bias"][own] == theirs[f"{head}.bias"][other]
        assert torch.equal(after[f"{head}.weight"].select(axis, 0), before[f"{head}.weight"].select(axis, 0))


@pytest.mark.parametrize("prefix", ["module.encoder.", "module.features.encoder."])
def test_an_encoder_alone_is_taken_and_the_decoder_starts_anew(tmp_path: Path, prefix: str) -> None:
    """The second is what the authors' network for ImageNet calls it, whose classifier is of no use here."""
    encoder = {name.removeprefix("encoder."): value for name, value in body(ERFNet(5).state_dict(), "encoder.").items()}
    content = {prefix + name: tensor for name, tensor in encoder.items() if not name.endswith("num_batches_tracked")}
    content["module.classifier.linear.weight"] = torch.zeros(1000, 128)
    torch.save({"state_dict": content}, tmp_path / "encoder.pth.tar")
    before, after = started(tmp_path / "encoder.pth.tar")
    assert all(torch.equal(after[f"encoder.{name}"], tensor) for name, tensor in encoder.items())
    assert all(torch.equal(after[name], tensor) for name, tensor in body(before, "decoder.").items())


def test_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3)}, tmp_path / "resnet.pth")
    with pytest.raises(CheckpointError, match=r"an ERFNet or .* in .*resnet\.pth, got none .* encoder\.init"):
        InitialWeights.read(tmp_path / "resnet.pth")
    wide = {name: torch.cat([t, t]) if t.ndim else t for name, t in ERFNet(3).state_dict().items()}
    torch.save(wide, tmp_path / "wide.pth")
    with pytest.raises(CheckpointError, match="other shapes for encoder"):
        InitialWeights.read(tmp_path / "wide.pth")
