"""ONNX graphs compared with the Pipeline at every size that they take, and their metadata."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from onnx import helper

from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.errors import EngineError, ExportError
from erfnet_ros.inference.engine import Run
from erfnet_ros.inference.onnxruntime import run_on_cpu
from erfnet_ros.inference.parity_check import compare
from erfnet_ros.models.checkpoint import Checkpoint
from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.models.onnx import export
from erfnet_ros.models.pipeline import Pipeline

ROOT = Path(__file__).resolve().parents[3]


def checkpoint(size: tuple[int, int] = (64, 48), seed: int = 5) -> Checkpoint:
    """Return an untrained network, its scaling no plain one."""
    torch.manual_seed(seed)
    state = ERFNet(11).state_dict()
    # Far apart, so that rounding does not decide which class wins.
    state["decoder.output_conv.weight"] *= 30
    return Checkpoint(CAMVID, state, size, "nothing", 0.5, "free", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def picture(width: int, height: int) -> np.ndarray:
    """Return noise with large shapes in it, so that every way of resizing gives other pixels."""
    random = np.random.default_rng([width, height])
    coarse = random.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3))
    fine = random.integers(-40, 40, (height, width, 3))
    return np.clip(np.kron(coarse, np.ones((16, 16, 1)))[:height, :width] + fine, 0, 255).astype(np.uint8)


PIPELINE = Pipeline(checkpoint()).eval()


@pytest.fixture(scope="module")
def one_size() -> onnx.ModelProto:
    return export.build(checkpoint(), (150, 110))


@pytest.fixture(scope="module")
def any_size() -> onnx.ModelProto:
    return export.build(checkpoint())


@pytest.fixture(scope="module")
def run_any_size(any_size: onnx.ModelProto) -> Run:
    return run_on_cpu(any_size.SerializeToString())


def test_a_graph_for_one_size_takes_and_gives_bytes_of_that_size(one_size: onnx.ModelProto) -> None:
    onnx.checker.check_model(one_size, full_check=True)
    shapes = {
        value.name: (value.type.tensor_type.elem_type, [d.dim_value for d in value.type.tensor_type.shape.dim])
        for value in (*one_size.graph.input, *one_size.graph.output)
    }
    uint8 = onnx.TensorProto.UINT8
    assert shapes == {
        "image": (uint8, [1, 110, 150, 3]),
        "labels": (uint8, [1, 110, 150]),
        "confidence": (uint8, [1, 110, 150]),
    }
    assert next(opset.version for opset in one_size.opset_import if not opset.domain) >= 17


def test_a_graph_for_one_size_answers_as_pytorch_does(one_size: onnx.ModelProto) -> None:
    same, apart = compare(run_on_cpu(one_size.SerializeToString()), PIPELINE, picture(150, 110)[None])
    assert same >= 0.9995
    assert apart <= 1 / 255


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.integers(8, 400), st.integers(8, 400))
@example(64, 48)
@example(128, 96)
@example(131, 193)
@example(8, 8)
def test_a_graph_for_any_size_answers_as_pytorch_does_at_every_size(run_any_size: Run, width: int, height: int) -> None:
    """Blocks averaged or not, sides rounded up or down: the graph decides it when it runs, as Python does."""
    image = picture(width, height)
    labels, confidence = run_any_size(image[None])
    with torch.inference_mode():
        expected, expected_confidence = (t.numpy() for t in PIPELINE(torch.from_numpy(image[None])))
    assert labels.dtype == confidence.dtype == np.uint8
    assert labels.shape == confidence.shape == (1, height, width)
    # One pixel in a small image may tie.
    assert (labels != expected).sum() <= max(1, 0.0005 * labels.size)
    assert np.abs(confidence.astype(int) - expected_confidence).max() <= 1


def test_training_at_a_size_off_the_networks_steps_has_no_graph_for_any_size() -> None:
    with pytest.raises(ExportError, match=r"in steps of 8 .* got 60x45; give an input size"):
        export.build(checkpoint((60, 45)))


def test_half_precision_halves_the_file_and_hardly_changes_a_label() -> None:
    model = export.build(checkpoint(), (64, 48), precision="fp16")
    kinds = {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 4}
    assert kinds == {onnx.TensorProto.FLOAT16}
    assert 4_000_000 < model.ByteSize() < 5_000_000
    assert compare(run_on_cpu(model.SerializeToString()), PIPELINE, picture(64, 48)[None])[0] > 0.98


def test_bytes_are_cast_as_tensorrt_accepts_it(one_size: onnx.ModelProto, any_size: onnx.ModelProto) -> None:
    """It refuses a graph that moves or slices a uint8 input, and a cast of the argmax's int64 to uint8."""
    for model in (one_size, any_size):
        assert {node.op_type for node in model.graph.node if "image" in node.input} <= {"Cast", "Shape"}
        casts = {node.output[0]: node for node in model.graph.node if node.op_type == "Cast"}
        source = casts[casts["labels"].input[0]]
        assert helper.get_node_attr_value(source, "to") == onnx.TensorProto.FLOAT


def test_the_graph_says_what_its_labels_mean_and_nothing_of_this_machine(any_size: onnx.ModelProto) -> None:
    properties = {entry.key: json.loads(entry.value) for entry in any_size.metadata_props}
    assert properties["class_names"] == list(CAMVID.names)
    metadata = properties["erfnet_ros"]
    assert metadata["class_set"] == CAMVID.to_dict()
    assert (metadata["trained_size"], metadata["camera_size"], metadata["precision"]) == ([64, 48], None, "fp32")
    assert (metadata["data"], metadata["miou"], metadata["license"]) == ("nothing", 0.5, "free")
    content = any_size.SerializeToString()
    for path in (str(ROOT), "site-packages", ".py"):
        assert path.encode() not in content


def test_other_weights_are_seen_to_answer_otherwise(one_size: onnx.ModelProto) -> None:
    other = Pipeline(checkpoint(seed=6)).eval()
    assert compare(run_on_cpu(one_size.SerializeToString()), other, picture(150, 110)[None])[0] < 0.9


def test_a_graph_that_the_runtime_refuses_is_an_error(one_size: onnx.ModelProto) -> None:
    broken = onnx.ModelProto()
    broken.CopyFrom(one_size)
    del broken.graph.node[3]
    with pytest.raises(EngineError, match="ONNX Runtime refuses the graph"):
        run_on_cpu(broken.SerializeToString())


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ExportError, match=r"got none called 'onnxscript'; install .*training"):
        export.build(checkpoint(), (64, 48))
