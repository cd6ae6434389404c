"""The `erfnet` command: options and errors of all its subcommands."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from erfnet_ros import __version__
from erfnet_ros.core.errors import ErfnetError, ParameterError
from erfnet_ros.core.printable_text import printable

_ROS = "ROS 2 and the built package: source ROS 2 and the workspace, or use 'make demo', which brings its own"

_TRAINING = "what training needs: pip install 'erfnet_ros[training]', or '.[training]' in a checkout"

_VIEWER = "the viewer: pip install 'erfnet_ros[view]', or '.[view]' in a checkout"

_FORWARDED = {
    "evaluate": ("erfnet_ros.commands.evaluate", "its dependencies", "score a checkpoint on a data set"),
    "classes": ("erfnet_ros.commands.classes", "its dependencies", "print ids, names and colors of a class set"),
    "data": ("erfnet_ros.commands.data", "its dependencies", "import annotations, check a data set before training"),
    "train": ("erfnet_ros.commands.train", _TRAINING, "train on CamVid, Cityscapes or a folder of your own"),
    "export": (
        "erfnet_ros.commands.deployment.export",
        _TRAINING,
        "write a checkpoint as ONNX, image in and labels out",
    ),
    "build-engine": (
        "erfnet_ros.commands.deployment.build_engine",
        "TensorRT and ONNX: pip install 'erfnet_ros[tensorrt]', or '.[tensorrt]' in a checkout",
        "build a TensorRT engine before the robot needs it",
    ),
    "calibrate": (
        "erfnet_ros.commands.deployment.calibrate",
        "its dependencies",
        "prepare a checkpoint for precision int8",
    ),
    "bag": ("erfnet_ros.commands.bag", "its dependencies", "make rosbags of images, and list what they hold"),
    "evaluate-bag": (
        "erfnet_ros.commands.evaluate_bag",
        "its dependencies",
        "score rosbags, offline or through the node",
    ),
    "evaluate-bag --live": ("erfnet_ros.ros.live_evaluation.command", _ROS, ""),
    "view": ("erfnet_ros.commands.view", _VIEWER, "show a bag, folder, video or running node in the Rerun viewer"),
    "view --live": ("erfnet_ros.ros.view", f"{_ROS}; and {_VIEWER}", ""),
    "doctor": ("erfnet_ros.ros.doctor", "Python alone", "check this machine, and say what to do about what is missing"),
    "demo": ("erfnet_ros.ros.demo.command", _ROS, "play a camera to the real node over DDS and score what comes back"),
    "benchmark": (
        "erfnet_ros.commands.benchmark.command",
        "its dependencies",
        "measure engines, node and transport of images",
    ),
    "benchmark --node": ("erfnet_ros.ros.benchmark.command", _ROS, ""),
    "benchmark --transport": ("erfnet_ros.ros.benchmark.command", _ROS, ""),
    "benchmark --all": ("erfnet_ros.ros.benchmark.command", _ROS, ""),
}
"""Commands that are modules of their own with a `main(arguments) -> exit status`: module, what it needs, help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0, 1 where some inputs failed, 2 for an error."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if not arguments:
            _parser().print_help()
            return 0
        # Their options are their own, --help included.
        if arguments[0] in _FORWARDED:
            with_option = [name for option in arguments[1:] if (name := f"{arguments[0]} {option}") in _FORWARDED]
            return _run_forwarded([*with_option, arguments[0]][0], arguments[1:])
        options = _parser().parse_args(arguments)
        # The notes of an engine are printed with the results.
        logging.basicConfig(level=logging.INFO, format="erfnet: %(message)s")
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except ErfnetError as error:
        print(f"erfnet: error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    from erfnet_ros.inference.factory import add_engine_options

    parser = argparse.ArgumentParser(prog="erfnet", description="ERFNet semantic segmentation.")
    parser.add_argument("--version", action="version", version=f"erfnet_ros {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    segment = commands.add_parser(
        "segment", help="segment image files", description="Segment image files, without ROS."
    )
    segment.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image file, or folder of images")
    segment.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder for masks and overlays")
    segment.add_argument("--checkpoint", metavar="FILE", help=".safetensors file (default: the shipped CamVid weights)")
    add_engine_options(segment)
    segment.add_argument(
        "--input-size", default="auto", metavar="WxH", help="size that the network sees (default: auto)"
    )
    segment.add_argument("--threshold", type=float, default=0.0, help="pixels below this confidence become void (0..1)")
    segment.add_argument("--alpha", type=float, default=0.5, help="weight of the colors in the overlay (0..1)")
    segment.set_defaults(run=_segment)

    weights = commands.add_parser(
        "import-weights",
        help="turn the authors' .pth or .pth.tar into a checkpoint",
        description="Turn a .pth or .pth.tar file of the authors' PyTorch code into a checkpoint of this package.",
    )
    weights.add_argument(
        "file", type=Path, metavar="FILE", help="the authors' file; nothing but tensors is loaded from it"
    )
    weights.add_argument("-o", "--out", type=Path, required=True, metavar="FILE", help="the .safetensors file to write")
    weights.add_argument(
        "--classes", default="cityscapes", help="cityscapes, camvid, or a YAML file (default: cityscapes)"
    )
    weights.add_argument(
        "--input-size", default="1024x512", metavar="WxH", help="size it was trained on (default: 1024x512)"
    )
    weights.add_argument("--data", default="", metavar="TEXT", help="what it was trained on")
    weights.add_argument("--license", default="", metavar="TEXT", help="terms of the weights and their data")
    weights.add_argument("--miou", type=float, metavar="X", help="measured mIoU, 0..1")
    weights.set_defaults(run=_import_weights)

    for name, (_, _, description) in _FORWARDED.items():
        if description:
            commands.add_parser(name, help=description, add_help=False)
    return parser


def _segment(options: argparse.Namespace) -> int:
    from erfnet_ros.commands.segment_files import find_images, segment_files
    from erfnet_ros.core.image_size import parse_input_size
    from erfnet_ros.inference.segmenter import Segmenter

    for name in ("threshold", "alpha"):
        if not 0 <= getattr(options, name) <= 1:
            raise ParameterError(f"Expected --{name} from 0 to 1, got {getattr(options, name)}.")
    tasks = find_images(options.images)
    size = parse_input_size(options.input_size)
    segmenter = Segmenter(
        options.checkpoint,
        engine=options.engine,
        device=options.device,
        precision=options.precision,
        input_size=size,
    )
    faults = segment_files(tasks, segmenter, options.out, threshold=options.threshold, alpha=options.alpha)
    for fault in faults:
        print(printable(f"erfnet: skipped an image: {fault}", 2000), file=sys.stderr)
    print(f"{len(tasks) - len(faults)} of {len(tasks)} images segmented into {options.out}")
    return 1 if faults else 0


def _import_weights(options: argparse.Namespace) -> int:
    from erfnet_ros.core.class_set import named
    from erfnet_ros.core.image_size import parse_input_size
    from erfnet_ros.models.checkpoint import import_weights, save

    size = parse_input_size(options.input_size)
    if size is None:
        raise ParameterError(
            "Expected --input-size WIDTHxHEIGHT, got auto; give the size that the network was trained on."
        )
    if options.miou is not None and not 0 <= options.miou <= 1:
        raise ParameterError(f"Expected --miou from 0 to 1, got {options.miou}.")
    checkpoint = import_weights(
        options.file, named(options.classes), size, data=options.data, license=options.license, miou=options.miou
    )
    save(checkpoint, options.out)
    print(
        f"{options.out}: {len(checkpoint.class_set)} classes ({checkpoint.class_set.name}), trained at "
        f"{options.input_size}"
    )
    return 0


def _run_forwarded(name: str, arguments: Sequence[str]) -> int:
    module_name, needs, _ = _FORWARDED[name]
    try:
        command: Callable[[Sequence[str]], int] = importlib.import_module(module_name).main
        # Heavy libraries are imported only once the options are read, for --help to be quick.
        return command(arguments)
    except ImportError as error:
        if (error.name or "").split(".")[0] == "erfnet_ros" and error.name != "erfnet_ros.msg":
            raise
        raise ErfnetError(f"'erfnet {name}' cannot import '{error.name or error}'; it needs {needs}.") from error
