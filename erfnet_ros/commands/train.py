"""The `erfnet train` command."""

from __future__ import annotations

import argparse
import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.inference.engine import DEVICES, FLOATS
from erfnet_ros.training.config.recipe import BUILT_IN
from erfnet_ros.training.config.request import Request

_DESCRIPTION = """Train ERFNet on a data set. The folder RUN gets the state to resume from, curves and pictures for
TensorBoard (tensorboard --logdir RUN), and in the end checkpoint.safetensors and a report."""

_DEFAULT_RECIPE = "modern"


def main(arguments: Sequence[str]) -> int:
    """Run the command; return 0, or 130 where it was stopped and can be resumed."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="erfnet train: %(message)s")
    request = _request(options, arguments)
    # After --help and the first checks: it brings torch and Lightning.
    from erfnet_ros.training.fit import train
    from erfnet_ros.training.loop.checkpoint_io import report_full_disk
    from erfnet_ros.training.loop.distributed import local_rank

    with report_full_disk(request.run):
        done = train(request)
    # The first process tells: it is killed by Lightning where one that it started ends with another status than 0.
    return 0 if done or local_rank() else 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="erfnet train", description=_DESCRIPTION)
    parser.add_argument("dataset", metavar="DATASET", help="camvid, cityscapes or folder (docs/training.md)")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the data set's folder")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    what = parser.add_argument_group("what to train")
    what.add_argument(
        "--recipe", metavar="NAME", help=f"{', '.join(BUILT_IN)} or a YAML file (default: {_DEFAULT_RECIPE})"
    )
    what.add_argument("--split", metavar="SPLIT", help="train, or train+val (default: train)")
    what.add_argument(
        "--validate-on", metavar="SPLIT", help="val, test or none (default: val, or test where val is trained on)"
    )
    what.add_argument("--init", type=Path, metavar="FILE", help="checkpoint whose weights to begin with")
    what.add_argument("--resume", action="store_true", help="go on with the run in RUN, to the same result")
    what.add_argument("--epochs", type=int, metavar="N", help="length of each stage, where the recipe counts epochs")
    what.add_argument("--steps", type=int, metavar="N", help="length of each stage, where the recipe counts steps")
    what.add_argument("--batch-size", type=int, metavar="N", help="crops per step, over all devices")
    what.add_argument("--seed", type=int, metavar="N", help="what every random choice follows from")
    what.add_argument("--license", metavar="TEXT", help="terms of the weights, kept in the checkpoint")
    where = parser.add_argument_group("where to train")
    where.add_argument("--device", default="auto", help=f"{DEVICES} (default: auto)")
    where.add_argument("--precision", default="auto", help=f"{', '.join(FLOATS)} (default: auto)")
    where.add_argument("--devices", type=int, default=1, metavar="N", help="GPUs, or processes on a CPU (default: 1)")
    where.add_argument("--nodes", type=int, default=1, metavar="N", help="machines (default: 1)")
    where.add_argument("--workers", type=int, metavar="N", help="processes that read frames (default: one per core)")
    where.add_argument(
        "--frames",
        choices=("auto", "memory", "disk"),
        default="auto",
        help="keep all frames in the device's memory, or read them as they are needed (default: memory where they fit)",
    )
    where.add_argument(
        "--save-every", type=float, default=60.0, metavar="S", help="seconds between two saved states (default: 60)"
    )
    return parser


def _request(options: argparse.Namespace, arguments: Sequence[str]) -> Request:
    for name, value, low in (
        ("epochs", options.epochs, 1),
        ("steps", options.steps, 1),
        ("batch-size", options.batch_size, 1),
        ("seed", options.seed, 0),
        ("devices", options.devices, 1),
        ("nodes", options.nodes, 1),
        ("workers", options.workers, 0),
        ("save-every", options.save_every, 0),
    ):
        if value is not None and not value >= low:
            raise ParameterError(f"Expected --{name} of {low} or more, got {value}.")
    if options.steps is not None and options.epochs is not None:
        raise ParameterError(f"Expected --steps or --epochs, got both ({options.steps} and {options.epochs}).")
    return Request(
        kind=options.dataset,
        root=options.data,
        run=options.out,
        recipe=options.recipe or (None if options.resume else _DEFAULT_RECIPE),
        split=options.split,
        validate_on=options.validate_on,
        init=options.init,
        resume=options.resume,
        epochs=options.epochs,
        steps=options.steps,
        batch_size=options.batch_size,
        seed=options.seed,
        license=options.license,
        device=options.device,
        precision=options.precision,
        devices=options.devices,
        nodes=options.nodes,
        workers=options.workers,
        frames=options.frames,
        save_every_s=options.save_every,
        command=shlex.join(["erfnet", "train", *arguments]),
    )
