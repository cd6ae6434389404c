"""A teacher's probabilities are its network's own, for the classes that both know; other files are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

pytest.importorskip("onnx", reason="needs ONNX (the extra 'training')")
pytest.importorskip("onnxruntime", reason="needs ONNX Runtime (the extra 'training')")

from support.teachers import METADATA, make_teacher

from erfnet_ros.core.errors import TrainingError
from erfnet_ros.training.loop.losses import cross_entropy, distillation
from erfnet_ros.training.loop.teacher import Teacher

CPU = torch.device("cpu")
STUDENT = ("grass", "road", "person")


def images(count: int = 2, size: tuple[int, int] = (24, 32)) -> Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(0))


def expected(network: nn.Module, x: Tensor) -> Tensor:
    """The softmax of the network itself, of road and person, which are its classes 2 and 0."""
    mean, std = (torch.tensor(METADATA[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        return network((x - mean) / std).softmax(1)[:, [2, 0]]


def test_the_probabilities_of_shared_classes_are_the_networks_own(tmp_path: Path) -> None:
    path, network = make_teacher(tmp_path / "teacher.onnx")
    teacher = Teacher(path, STUDENT, CPU)
    assert teacher.class_ids.tolist() == [1, 2]
    torch.testing.assert_close(teacher.probabilities(images()), expected(network, images()), atol=1e-5, rtol=1e-4)


def test_a_fixed_size_gets_images_of_that_size_one_by_one(tmp_path: Path) -> None:
    path, network = make_teacher(tmp_path / "teacher.onnx", fixed=(1, 3, 16, 16))
    resized = F.interpolate(images(), size=(16, 16), mode="bilinear", align_corners=False)
    found = Teacher(path, STUDENT, CPU).probabilities(images())
    torch.testing.assert_close(found, expected(network, resized), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"mean": None}, r"mean: missing.*set_model_props"),
        ({"std": "[1, 2]"}, r"std: \[1, 2\]"),
        ({"mean": "[NaN, 0, 0]"}, r"mean: \[NaN, 0, 0\]"),
        ({"classes": "person, road"}, r"JSON lists 'classes'"),
        ({"classes": '["person"]'}, r"for each of its 3 classes, got 1"),
        ({"classes": '["a", "b", "road"]'}, r"shares two classes or more with grass, road, person, got a, b, road"),
    ],
)
def test_metadata_that_do_not_serve_are_named(tmp_path: Path, metadata: dict[str, str | None], message: str) -> None:
    path, _ = make_teacher(tmp_path / "teacher.onnx", metadata=metadata)
    with pytest.raises(TrainingError, match=message):
        Teacher(path, STUDENT, CPU)


def test_what_is_no_segmentation_network_is_refused(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no network")
    with pytest.raises(TrainingError, match="Expected an ONNX file as --teacher"):
        Teacher(damaged, STUDENT, CPU)
    classifier, _ = make_teacher(tmp_path / "classifier.onnx", pooled=True)
    with pytest.raises(TrainingError, match=r"class scores \(N, C, h, w\), got .*; export the network so"):
        Teacher(classifier, STUDENT, CPU)


def test_a_certain_teacher_teaches_as_labels_do() -> None:
    random = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 3, 8, 8, generator=random)
    labels = torch.randint(0, 3, (2, 8, 8), generator=random)
    weights = torch.tensor([1.0, 2.0, 5.0])
    certain = F.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    found = distillation(logits, certain, torch.arange(3), weights)
    torch.testing.assert_close(found, cross_entropy(logits, labels, weights))


def test_classes_that_the_teacher_does_not_know_are_left_alone() -> None:
    logits = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(2)).requires_grad_()
    probabilities = torch.full((1, 2, 2, 2), 0.3)
    distillation(logits, probabilities, torch.tensor([3, 1]), None).backward()
    assert logits.grad is not None
    assert np.count_nonzero(logits.grad[:, [0, 2]]) == 0
    assert np.count_nonzero(logits.grad[:, [1, 3]]) > 0
