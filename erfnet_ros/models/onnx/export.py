"""ONNX export of the Pipeline: uint8 image in, uint8 labels and confidence out; or of its network alone.

A graph for one camera size is PyTorch's own export of the Pipeline. In a graph for any camera size the resizing of the
image is written in ONNX by hand, since how far it shrinks is decided by numbers that PyTorch's tracing would freeze;
no graph should be used without a comparison with the Pipeline (`inference.parity_check`).
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from erfnet_ros.core.errors import ExportError
from erfnet_ros.models.checkpoint import Checkpoint
from erfnet_ros.models.erfnet import STRIDE
from erfnet_ros.models.onnx import resize
from erfnet_ros.models.onnx.quantize import OPSET, quantize
from erfnet_ros.models.pipeline import LogitsNetwork, Pipeline, answers, upsample
from erfnet_ros.models.quantization import ranges_of

if TYPE_CHECKING:
    import onnx

INPUT, OUTPUTS = resize.INPUT, ("labels", "confidence")
"""(N, H, W, 3) uint8 RGB in; (N, H, W) uint8 each out; N is 1 unless a graph is built for more."""

METADATA_KEY = "erfnet_ros"
"""Key of the model's metadata under which one JSON object describes the graph."""

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "int8": torch.float16}
"""Floating-point type of a graph's tensors; int8 has convolutions in bytes between them."""


def build(
    checkpoint: Checkpoint,
    camera: tuple[int, int] | None = None,
    *,
    input_size: tuple[int, int] | None = None,
    precision: str = "fp32",
    batch: int = 1,
) -> onnx.ModelProto:
    """Write a checkpoint's Pipeline as an ONNX graph; its metadata says what the labels mean.

    Args:
        checkpoint: The network.
        camera: (width, height) of the images that the graph takes, or None for images of any size.
        input_size: (width, height) that the network sees, or None for `pipeline.network_size`'s choice.
        precision: fp32; fp16 for weights and sums in half precision; or int8 for that with convolutions in bytes,
            for TensorRT (`quantize`).
        batch: How many images it takes at once; more than one only where `camera` says their size.

    Raises:
        ExportError: ONNX is not installed, or the network was trained at a size that a graph for any size cannot have.
        EngineError: int8 was asked for, but the checkpoint is not calibrated.
    """
    ranges = ranges_of(checkpoint.calibration) if precision == "int8" else None
    pipeline = Pipeline(checkpoint, input_size).eval().to(PRECISIONS[precision])
    if camera is None:
        model = _any_size(pipeline)
    else:
        image = torch.zeros(batch, camera[1], camera[0], 3, dtype=torch.uint8)
        model = _export(pipeline, {INPUT: image}, outputs=OUTPUTS)
    _remove_traces(model)
    _cast_labels_from_floats(model)
    if ranges is not None:
        quantize(model, ranges)
    metadata = {
        "class_set": checkpoint.class_set.to_dict(),
        "trained_size": list(checkpoint.input_size),
        "camera_size": list(camera) if camera else None,
        "input_size": list(input_size) if input_size else None,
        "precision": precision,
        "data": checkpoint.data,
        "miou": checkpoint.miou,
        "license": checkpoint.license,
    }
    for key, value in ((METADATA_KEY, metadata), ("class_names", list(checkpoint.class_set.names))):
        model.metadata_props.add(key=key, value=json.dumps(value))
    model.producer_name = "erfnet_ros"
    return model


def build_network(checkpoint: Checkpoint) -> onnx.ModelProto:
    """Write a checkpoint's network alone as an ONNX graph in fp32, for one image at a time of any size that 8 divides.

    It takes `INPUT` at the network's size and gives logits as `LastLayer` does.
    """
    from torch.export import Dim

    # All sizes differ: the tracing would take equal ones for one symbol.
    inputs = {INPUT: torch.zeros(1, 31 * STRIDE, 49 * STRIDE, 3, dtype=torch.uint8)}
    shapes = {INPUT: {1: STRIDE * Dim("rows"), 2: STRIDE * Dim("columns")}}
    model = _export(LogitsNetwork(Pipeline(checkpoint).eval()), inputs, outputs=("logits",), shapes=shapes)
    _remove_traces(model)
    return model


class _AfterResizing(nn.Module):
    """All of the Pipeline but the resizing of the image."""

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__()
        self.pipeline = pipeline

    def forward(self, image: Tensor, resized: Tensor) -> tuple[Tensor, Tensor]:
        return answers(upsample(self.pipeline.logits(resized), (image.shape[1], image.shape[2])))


def _any_size(pipeline: Pipeline) -> onnx.ModelProto:
    from torch.export import Dim

    wide, high = pipeline.input_size or pipeline.trained_size
    if pipeline.input_size is None and (wide % STRIDE or high % STRIDE):
        raise ExportError(
            f"Expected a network trained at a size in steps of {STRIDE} to follow any camera size, got {wide}x{high}; "
            "give an input size, or the one camera size that the graph is for."
        )
    rows, columns = (Dim.STATIC, Dim.STATIC) if pipeline.input_size else (STRIDE * Dim("rows"), STRIDE * Dim("columns"))
    inputs = {
        # All sizes differ: the tracing would take equal ones for one symbol.
        INPUT: torch.zeros(1, 250, 390, 3, dtype=torch.uint8),
        resize.RESIZED: torch.zeros(1, 3, high, wide, dtype=pipeline.mean.dtype),
    }
    shapes = {INPUT: {1: Dim("height"), 2: Dim("width")}, resize.RESIZED: {2: rows, 3: columns}}
    model = _export(_AfterResizing(pipeline), inputs, outputs=OUTPUTS, shapes=shapes)
    resize.resize_in_front(model, pipeline)
    return model


def _export(
    module: nn.Module, inputs: dict[str, Tensor], *, outputs: tuple[str, ...], shapes: dict[str, Any] | None = None
) -> onnx.ModelProto:
    try:
        import onnxscript  # noqa: F401  PyTorch's exporter is written on it
    except ImportError as error:
        raise ExportError(
            f"ONNX needs the packages onnx, onnxscript and onnxruntime, got none called '{error.name}'; install them "
            "with: pip install 'erfnet_ros[training]', or '.[training]' in a checkout."
        ) from error
    if "dynamic_shapes" not in signature(torch.onnx.export).parameters:
        raise ExportError(
            f"Expected a PyTorch whose ONNX exporter knows dynamic_shapes, got {torch.__version__}; update it "
            "(2.13 is tested, 2.4 is too old)."
        )
    with _quiet():
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            dynamo=True,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamic_shapes=None if shapes is None else tuple(shapes.values()),
            verbose=False,
        )
    if program is None:
        raise ExportError("PyTorch wrote no ONNX graph; update it.")
    return program.model_proto


def _cast_labels_from_floats(model: onnx.ModelProto) -> None:
    """Cast the int64 class ids to uint8 by way of floats: TensorRT makes uint8 of floats alone."""
    from onnx import TensorProto, helper

    for index, node in enumerate(model.graph.node):
        if node.op_type == "Cast" and node.output[0] == OUTPUTS[0]:
            floats = f"{OUTPUTS[0]}/floats"
            model.graph.node.insert(index, helper.make_node("Cast", [node.input[0]], [floats], to=TensorProto.FLOAT))
            node.input[0] = floats
            return
    raise ExportError("Expected a graph that casts its labels to uint8, got none; update erfnet_ros.")


def _remove_traces(model: onnx.ModelProto) -> None:
    """Remove the exporter's notes: lines of source with this machine's paths, and the names of traced values."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        del part.metadata_props[:]
        part.doc_string = ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's log and warnings about its steps, optional packages and deprecations."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
