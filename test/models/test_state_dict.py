"""State dict validation, and tensors that older files lack."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import CheckpointError
from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.models.state_dict import expected_tensors, fitted, with_unread_tensors, without_void_logit

CLASSES = ClassSet("three", ("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
FILE = Path("some.pth")


@pytest.fixture(scope="module")
def network() -> ERFNet:
    torch.manual_seed(0)
    return ERFNet(3).eval()


def test_what_is_expected_is_the_network_and_costs_no_random_numbers() -> None:
    """Loading weights must not change what a seeded program draws next."""
    state = torch.get_rng_state()
    expected = expected_tensors(7)
    assert torch.equal(torch.get_rng_state(), state)
    actual = ERFNet(7).state_dict()
    assert {n: (t.shape, t.dtype) for n, t in expected.items()} == {n: (t.shape, t.dtype) for n, t in actual.items()}


def test_half_precision_becomes_float32_and_counters_stay_integers(network: ERFNet) -> None:
    tensors = {n: t.half() if t.is_floating_point() else t for n, t in network.state_dict().items()}
    result = fitted(dict(reversed(tensors.items())), CLASSES, FILE)
    assert list(result) == list(network.state_dict())
    assert {t.dtype for t in result.values()} == {torch.float32, torch.int64}


def test_every_kind_of_fault_is_named_in_one_error(network: ERFNet) -> None:
    tensors = network.state_dict()
    del tensors["decoder.output_conv.bias"]
    tensors["features.0"] = torch.zeros(1)
    tensors["encoder.layers.3.bn1.bias"] = torch.zeros(2)
    tensors["encoder.layers.3.bn1.num_batches_tracked"] = torch.tensor(1.5)
    with pytest.raises(CheckpointError) as caught:
        fitted(tensors, CLASSES, FILE)
    assert str(caught.value) == (
        "The tensors of some.pth do not make an ERFNet of 3 classes (three). missing: decoder.output_conv.bias; "
        "not part of it: features.0; of another shape: encoder.layers.3.bn1.bias (expected (64,), got (2,)); "
        "of another type: encoder.layers.3.bn1.num_batches_tracked (torch.float32). "
        "Take the class set and the network that the file was trained with."
    )


def test_heads_of_any_other_size_stay_to_be_refused(network: ERFNet) -> None:
    """Only one logit can be void: cutting more would silently drop classes."""
    tensors = network.state_dict()
    assert all(without_void_logit(tensors, num_classes) == tensors for num_classes in (1, 4, 5))
    for bias in (torch.tensor(1.0), torch.zeros(3), torch.zeros(4, 1)):
        head = {"decoder.output_conv.weight": torch.zeros(16, 4, 2, 2), "decoder.output_conv.bias": bias}
        assert without_void_logit(head, 3) == head


def test_a_file_without_counters_and_encoder_head_gives_the_same_outputs(network: ERFNet) -> None:
    """So are files of PyTorch 0.3, and networks trained on an ImageNet encoder."""
    tensors = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked") and not name.startswith("encoder.output_conv.")
    }
    filled, names = with_unread_tensors(tensors, 3)
    assert set(names) == network.state_dict().keys() - tensors.keys()
    other = ERFNet(3).eval()
    other.load_state_dict(fitted(filled, CLASSES, FILE))
    image = torch.rand(1, 3, 16, 24)
    with torch.inference_mode():
        torch.testing.assert_close(other(image), network(image), rtol=0, atol=0)


@pytest.mark.parametrize(
    "name", ["encoder.output_conv.bias", "encoder.layers.2.bn1.num_batches_tracked", "decoder.output_conv.weight"]
)
def test_what_is_missing_for_another_reason_stays_missing(network: ERFNet, name: str) -> None:
    tensors = network.state_dict()
    del tensors[name]
    filled, names = with_unread_tensors(tensors, 3)
    assert names == []
    with pytest.raises(CheckpointError, match=f"missing: {name}"):
        fitted(filled, CLASSES, FILE)
