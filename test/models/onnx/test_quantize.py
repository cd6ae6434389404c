"""Int8 ONNX graphs: which layers compute in bytes, their scales, and labels compared with fp32."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from erfnet_ros.core.errors import EngineError
from erfnet_ros.inference.parity_check import check_parity
from erfnet_ros.models import checkpoint as checkpoints
from erfnet_ros.models.erfnet import ACTIVATIONS
from erfnet_ros.models.onnx import export
from erfnet_ros.models.onnx.quantize import OPSET, quantize
from erfnet_ros.models.pipeline import Pipeline

CHECKPOINT = checkpoints.load()
SIZE = (480, 360)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return export.build(CHECKPOINT, SIZE, precision="int8")


def number(model: onnx.ModelProto, name: str) -> np.ndarray:
    return numpy_helper.to_array(next(tensor for tensor in model.graph.initializer if tensor.name == name))


def test_the_encoders_residual_convolutions_multiply_bytes_and_nothing_else_does(model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model, full_check=True)
    convolutions = [node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    produced = {output: node.op_type for node in model.graph.node for output in node.output}
    in_bytes = {
        node.input[1]
        for node in convolutions
        if produced.get(node.input[0]) == produced.get(node.input[1]) == "DequantizeLinear"
    }
    inner = ("conv3x1_1", "conv1x3_1", "conv3x1_2", "conv1x3_2")
    expected = {f"encoder.layers.{layer}.{name}/weight" for layer in (*range(1, 6), *range(7, 15)) for name in inner}
    assert in_bytes == expected - {"encoder.layers.1.conv3x1_1/weight"}
    assert len(convolutions) == 74
    kinds = [node.op_type for node in model.graph.node]
    assert (kinds.count("QuantizeLinear"), kinds.count("DequantizeLinear")) == (51, 102)


def test_the_floats_in_between_are_halves(model: onnx.ModelProto) -> None:
    """A strongly typed network computes in what the graph says, sums of residual layers included."""
    inferred = onnx.shape_inference.infer_shapes(model)
    kinds = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    sums = [node.output[0] for node in model.graph.node if node.op_type in ("Add", "Conv")]
    assert {kinds[name] for name in sums} == {onnx.TensorProto.FLOAT16}


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("encoder.layers.3.conv1x3_2", "encoder.layers.3.conv3x1_2"),
        ("encoder.layers.7.conv3x1_1", "encoder.layers.6"),
        ("encoder.layers.12.conv3x1_1", "encoder.layers.11"),
    ],
)
def test_weights_and_scales_are_those_of_network_and_calibration(
    model: onnx.ModelProto, name: str, before: str
) -> None:
    exact = Pipeline(CHECKPOINT).network.get_submodule(name).weight.detach().numpy()
    scales = number(model, f"{name}/weight/scale").astype(np.float32)
    weight = number(model, f"{name}/weight/bytes")
    assert weight.dtype == np.int8
    assert (np.abs(weight.astype(int)).max((1, 2, 3)) == 127).all()
    np.testing.assert_allclose(weight * scales[:, None, None, None], exact, atol=0.6 * scales.max())
    assert CHECKPOINT.calibration is not None
    scale = CHECKPOINT.calibration.ranges[before] / 127
    assert number(model, f"{name}/scale") == pytest.approx(scale, rel=1e-3)


def test_a_graph_in_int8_chooses_the_classes_of_fp32(model: onnx.ModelProto) -> None:
    """By the operators' definitions, without what a runtime's own int8 kernels round."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        labels, confidence = session.run(["labels", "confidence"], {"image": images})
        return labels, confidence

    assert check_parity(run, Pipeline(CHECKPOINT).eval(), name="the graph", sizes=[SIZE]) < 1


def test_a_channel_of_zeros_stays_zero() -> None:
    name = "encoder.layers.2.conv3x1_1"
    weight = np.random.default_rng(1).normal(size=(4, 4, 3, 1)).astype(np.float32)
    weight[3] = 0
    x, y = (helper.make_tensor_value_info(end, onnx.TensorProto.FLOAT, [1, 4, 8, 8]) for end in "xy")
    node = helper.make_node("Conv", ["x", f"network.{name}.weight"], ["y"], pads=[1, 0, 1, 0])
    graph = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(weight, f"network.{name}.weight")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    quantize(model, dict.fromkeys(ACTIVATIONS, 2.0))
    onnx.checker.check_model(model, full_check=True)
    assert not number(model, f"{name}/weight/bytes")[3].any()
    assert np.isfinite(number(model, f"{name}/weight/scale")).all()


def test_a_checkpoint_that_was_not_calibrated_is_refused() -> None:
    with pytest.raises(EngineError, match=r"'int8' was asked for, .* with: erfnet calibrate CHECKPOINT --images"):
        export.build(replace(CHECKPOINT, calibration=None), precision="int8")
