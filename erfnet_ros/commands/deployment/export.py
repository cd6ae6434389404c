"""`erfnet export`: a checkpoint as an ONNX file, compared with PyTorch."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.errors import ExportError
from erfnet_ros.core.image_size import parse_camera_size, parse_input_size
from erfnet_ros.core.output_files import write_file

_MIN_AGREEMENT = 0.999
"""Share of the pixels of each image on which graph and PyTorch in fp32 must choose the same class."""

_FRAMES_PER_SIZE = 3
_CAMERA_SIZES = ((1280, 720), (640, 480), (333, 251), (160, 120))
"""Camera sizes that a graph for any size is checked at, besides the training size: shrinking in blocks and smoothly,
enlarging, odd sides."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return 0."""
    options = _parser().parse_args(arguments)
    camera = None if options.size is None else parse_camera_size(options.size)
    input_size = parse_input_size(options.input_size)
    if not options.out.parent.is_dir() or options.out.is_dir():
        raise ExportError(f"Expected a file in a folder that exists for -o, got '{options.out}'; check the path.")

    from erfnet_ros.inference.onnxruntime import run_on_cpu
    from erfnet_ros.inference.parity_check import compare
    from erfnet_ros.models import checkpoint
    from erfnet_ros.models.onnx import export
    from erfnet_ros.models.onnx.quantize import OPSET
    from erfnet_ros.models.pipeline import Pipeline

    loaded = checkpoint.load(options.checkpoint)
    model = export.build(loaded, camera, input_size=input_size, precision=options.precision)
    sizes = dict.fromkeys((loaded.input_size, *_CAMERA_SIZES) if camera is None else (camera,))
    graph, pipeline = model.SerializeToString(), Pipeline(loaded, input_size).eval()
    run, worst, apart = run_on_cpu(graph), dict.fromkeys(sizes, 1.0), 0.0
    for image in _streets(list(sizes)):
        same, difference = compare(run, pipeline, image[None])
        size = image.shape[1], image.shape[0]
        worst[size], apart = min(same, worst[size]), max(apart, difference)
    # Rounded down: 99.9999 % must not read as all of them.
    shown = ", ".join(f"{int(same * 1e6) / 1e4:.4f} % at {w}x{h}" for (w, h), same in worst.items())
    if min(worst.values()) < _MIN_AGREEMENT:
        raise ExportError(
            f"Expected ONNX Runtime to predict PyTorch's class on {100 * _MIN_AGREEMENT:.1f} % of the pixels "
            f"or more, got {shown}; '{options.out}' was not written. "
            f"{'Export with --precision fp32.' if options.precision != 'fp32' else 'Update onnxruntime and torch.'}"
        )
    write_file(options.out, graph)
    print(f"{options.out}: {_described(camera, input_size)}, {options.precision}, opset {OPSET}")
    print(f"{len(loaded.class_set)} classes ({loaded.class_set.name}): {', '.join(loaded.class_set.names)}")
    print(f"same class as PyTorch in fp32 on {shown}")
    print(f"confidences differ by {apart:.3f} at most")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="erfnet export",
        description="Write a checkpoint as one ONNX graph: a (1, H, W, 3) uint8 RGB image in, its labels and "
        "confidences (1, H, W) uint8 out. The graph is run on synthetic streets in ONNX Runtime; unless it predicts "
        "PyTorch's class on 99.9 % of the pixels, nothing is written.",
    )
    parser.add_argument(
        "checkpoint", nargs="?", metavar="CHECKPOINT", help=".safetensors file (default: the shipped CamVid weights)"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.onnx", help="the file to write")
    camera = parser.add_mutually_exclusive_group()
    camera.add_argument("--size", metavar="WxH", help="size of the camera's images; TensorRT is fastest with one size")
    camera.add_argument("--dynamic", action="store_true", help="images of any size (default)")
    parser.add_argument(
        "--input-size",
        default="auto",
        metavar="WxH",
        help="size that the network sees (default: auto, from the camera's and the training size)",
    )
    parser.add_argument(
        "--precision", choices=("fp32", "fp16"), default="fp32", help="of the weights and sums (default: fp32)"
    )
    return parser


def _streets(sizes: Sequence[tuple[int, int]]) -> Iterator[Pixels]:
    """Render images to check the graph on: several of one size, or one of each."""
    from erfnet_ros.data.synthetic.street import Street

    for seed, size in enumerate(sizes if len(sizes) > 1 else [*sizes] * _FRAMES_PER_SIZE):
        yield Street(seed, size).frame(20 * seed)[0]


def _described(camera: tuple[int, int] | None, input_size: tuple[int, int] | None) -> str:
    images = "images of any size" if camera is None else f"images of {camera[0]}x{camera[1]}"
    return images if input_size is None else f"{images}, seen by the network at {input_size[0]}x{input_size[1]}"
