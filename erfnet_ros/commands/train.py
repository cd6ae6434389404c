"""`erfnet train`: training on a data set."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.inference.engine import DEVICES, FLOATS
from erfnet_ros.training.config.recipe import BUILT_IN, DEFAULT
from erfnet_ros.training.config.request import Request

log = logging.getLogger(__name__)

_DESCRIPTION = """Train ERFNet on a data set. The folder RUN receives the state to resume from, curves and images for
TensorBoard (tensorboard --logdir RUN), and at the end checkpoint.safetensors and report.html. Ctrl-C saves the state
and stops; --resume continues."""

_LEAST = {
    "epochs": 1, "steps": 1, "batch_size": 1, "seed": 0, "devices": 1, "nodes": 1, "workers": 0, "save_every_s": 0
}  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Run the command; return 0, or 130 where it was stopped."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="erfnet train: %(message)s")
    request = _request(options, arguments)
    done = False
    try:
        # After --help and the first checks: this imports torch and Lightning.
        from erfnet_ros.training.fit import train
        from erfnet_ros.training.loop.checkpoint_io import report_full_disk

        with report_full_disk(request.state):
            done = train(request)
    except KeyboardInterrupt:
        # A second one would interrupt what Python cleans up at its end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not done and request.state.exists():
        log.info("Stopped; continue with --resume.")
    elif not done:
        log.info("Stopped before the first state was saved; start again with the same command.")
    # Lightning kills the first process, which reports, where one that it started ends with another status than 0.
    return 0 if done or os.environ.get("LOCAL_RANK", "0") != "0" else 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="erfnet train", description=_DESCRIPTION)
    parser.add_argument("kind", metavar="DATASET", help="camvid, cityscapes or folder (docs/training.md)")
    parser.add_argument("--data", dest="root", type=Path, required=True, metavar="DIR", help="the data set's folder")
    parser.add_argument("--out", dest="run", type=Path, required=True, metavar="RUN", help="output folder of the run")
    what = parser.add_argument_group("training")
    what.add_argument("--recipe", metavar="NAME", help=f"{', '.join(BUILT_IN)} or a YAML file (default: {DEFAULT})")
    what.add_argument("--split", metavar="SPLIT", help="train, or train+val (default: train)")
    what.add_argument(
        "--validate-on", metavar="SPLIT", help="val, test or none (default: val, or test where val is trained on)"
    )
    what.add_argument("--init", type=Path, metavar="FILE", help="checkpoint or .pth to start from, of any classes")
    what.add_argument(
        "--teacher", type=Path, metavar="FILE.onnx", help="larger network to learn from as well (docs/training.md)"
    )
    what.add_argument(
        "--unlabeled", type=Path, metavar="DIR", help="folder of images without labels, for the teacher to label"
    )
    what.add_argument(
        "--resume", action="store_true", help="continue the run in RUN; the result is the same as without the stop"
    )
    what.add_argument("--epochs", type=int, metavar="N", help="length of each stage, for recipes that count epochs")
    what.add_argument("--steps", type=int, metavar="N", help="length of each stage, for recipes that count steps")
    what.add_argument("--batch-size", type=int, metavar="N", help="crops per step, over all devices")
    what.add_argument("--seed", type=int, metavar="N", help="seed of all random choices")
    what.add_argument("--license", metavar="TEXT", help="license of the weights, kept in the checkpoint")
    where = parser.add_argument_group("hardware")
    where.add_argument("--device", default="auto", help=f"{DEVICES} (default: auto)")
    where.add_argument("--precision", default="auto", help=f"{', '.join(FLOATS)} (default: auto)")
    where.add_argument("--devices", type=int, default=1, metavar="N", help="GPUs, or processes on a CPU (default: 1)")
    where.add_argument("--nodes", type=int, default=1, metavar="N", help="machines (default: 1)")
    where.add_argument(
        "--workers", type=int, metavar="N", help="processes that read frames (default: the cores divided by --devices)"
    )
    where.add_argument(
        "--frames",
        choices=("auto", "memory", "disk"),
        default="auto",
        help="keep all frames in the device's memory, or read each when it is needed (default: memory where they fit)",
    )
    where.add_argument(
        "--save-every",
        dest="save_every_s",
        type=float,
        default=60.0,
        metavar="S",
        help="seconds between two saved states (default: 60)",
    )
    return parser


def _request(options: argparse.Namespace, arguments: Sequence[str]) -> Request:
    for name, least in _LEAST.items():
        value = getattr(options, name)
        if value is not None and not value >= least:
            option = name.removesuffix("_s").replace("_", "-")
            raise ParameterError(f"Expected --{option} of {least} or more, got {value}.")
    if options.steps is not None and options.epochs is not None:
        raise ParameterError(f"Expected --steps or --epochs, got both ({options.steps} and {options.epochs}).")
    if options.unlabeled is not None and options.teacher is None:
        raise ParameterError("Expected --teacher with --unlabeled, got none; nothing else says what the images show.")
    if options.teacher is not None and not options.teacher.is_file():
        raise ParameterError(
            f"Expected an ONNX file as --teacher, got '{options.teacher}', which is no file; check the path."
        )
    return Request(**vars(options), command=shlex.join(["erfnet", "train", *arguments]))
