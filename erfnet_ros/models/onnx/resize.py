"""Image resizing as ONNX nodes, for a graph that takes images of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from erfnet_ros.models.erfnet import STRIDE
from erfnet_ros.models.pipeline import Pipeline

if TYPE_CHECKING:
    import onnx

INPUT, RESIZED = "image", "resized"
"""(1, H, W, 3) uint8 RGB from the camera; (1, 3, h, w) floats 0..255 at the network's size."""

_FRONT = """
front (uint8[1, H, W, 3] image) => (float[1, 3, h, w] resized) {
    one = Constant <value_ints = [1]> ()
    three = Constant <value_ints = [3]> ()
    camera = Shape <start = 1, end = 3> (image)
    SIZE
    fitting = Div (camera, size)
    block = Max (fitting, one)
    blocks = Div (camera, block)
    whole = Mul (blocks, block)
    corner = Constant <value_ints = [0, 0]> ()
    sides = Constant <value_ints = [1, 2]> ()
    pixels = Cast <to = DTYPE> (image)
    cut = Slice (pixels, corner, whole, sides)
    vertical = Constant <value_ints = [0]> ()
    rows = Gather (blocks, vertical)
    columns = Gather (blocks, one)
    block_rows = Gather (block, vertical)
    block_columns = Gather (block, one)
    shape = Concat <axis = 0> (one, rows, block_rows, columns, block_columns, three)
    in_blocks = Reshape (cut, shape)
    within = Constant <value_ints = [2, 4]> ()
    averaged = ReduceMean <keepdims = 0> (in_blocks, within)
    planes = Transpose <perm = [0, 3, 1, 2]> (averaged)
    target = Concat <axis = 0> (one, three, size)
    resized = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> (planes, , , target)
}
"""
"""`Pipeline`'s resizing of the image: blocks of pixels averaged where it halves or more, then bilinear."""

_FIXED = "size = Constant <value_ints = [HIGH, WIDE]> ()"

_FOLLOWING = """
    lengths = Cast <to = 11> (camera)
    area = ReduceProd <keepdims = 0> (lengths)
    trained_area = Constant <value = double {AREA}> ()
    ratio = Div (trained_area, area)
    shrink = Sqrt (ratio)
    shrunk = Mul (lengths, shrink)
    stride = Constant <value = double {STRIDE}> ()
    exact_steps = Div (shrunk, stride)
    near_steps = Round (exact_steps)
    least = Constant <value = double {1.0}> ()
    steps = Max (near_steps, least)
    fitted = Mul (steps, stride)
    size = Cast <to = 7> (fitted)
"""
"""`pipeline.network_size` for a camera of any size, in double precision as Python computes it."""


def resize_in_front(model: onnx.ModelProto, pipeline: Pipeline) -> None:
    """Let the graph resize the image itself in place of being given it resized."""
    from onnx import TensorProto, parser

    wide, high = pipeline.input_size or pipeline.trained_size
    size = _FIXED if pipeline.input_size else _FOLLOWING
    dtype = TensorProto.FLOAT if pipeline.mean.dtype == torch.float32 else TensorProto.FLOAT16
    numbers = {"HIGH": high, "WIDE": wide, "AREA": float(wide * high), "STRIDE": float(STRIDE), "DTYPE": dtype}
    text = _FRONT.replace("SIZE", size)
    for name, number in numbers.items():
        text = text.replace(name, str(number))
    nodes = parser.parse_graph(text).node
    for node in nodes:
        # A prefix distinguishes them from the names of PyTorch's export.
        for names in (node.input, node.output):
            names[:] = [name if name in ("", INPUT, RESIZED) else f"front/{name}" for name in names]
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
    inputs = [given for given in model.graph.input if given.name == INPUT]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
