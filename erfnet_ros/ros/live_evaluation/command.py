"""`erfnet evaluate-bag --live`: scores the real node on rosbags that are replayed over DDS."""

from __future__ import annotations

import argparse
import shlex
import signal
from collections.abc import Sequence
from datetime import datetime

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.core.output_files import locked_output_folder
from erfnet_ros.core.rate import parse_rate
from erfnet_ros.evaluation.options import add_options, prepare
from erfnet_ros.ros.harness.child_process import exit_on_signals, keep_to_this_machine, use_package_transport
from erfnet_ros.ros.harness.output_recorder import NAMESPACE
from erfnet_ros.ros.transport import keep_large_blocks

_CHOICES = ("engine", "device", "precision", "input_size")
"""Options that decide what the node loads."""


def main(arguments: Sequence[str]) -> int:
    """Run `erfnet evaluate-bag --live`; return its exit status: 0, or 1 where --require does not hold.

    Raises:
        ErfnetError: Bags, ground truth, checkpoint, options or outputs are not usable, or a process ended.
    """
    options = _parser().parse_args(arguments)
    exit_on_signals()
    # Started in the background, a program inherits that it ignores SIGINT, by which launch would stop it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    started = datetime.now().astimezone().isoformat(timespec="seconds")
    if options.node_running:
        _refuse_choices(options)
        use_package_transport()
    else:
        keep_to_this_machine()
    keep_large_blocks()
    preparation = prepare(options)

    # PyTorch is slow to import, and a wrong option need not wait for it.
    from erfnet_ros.ros.live_evaluation.session import Plan, evaluate

    plan = Plan(
        bags=tuple(options.bags),
        folder=options.out,
        preparation=preparation,
        rate=options.rate,
        running_in=options.namespace if options.node_running else None,
        storage=options.storage if options.output_bag else None,
        command=shlex.join(["erfnet", "evaluate-bag", *arguments]),
        started=started,
    )
    with locked_output_folder(options.out):
        return evaluate(plan)


def _refuse_choices(options: argparse.Namespace) -> None:
    """Refuse what only whoever starts the node can choose.

    Raises:
        ParameterError: Naming the options.
    """
    chosen = [name for name in _CHOICES if getattr(options, name) != "auto"]
    chosen += ["threshold"] if options.threshold else []
    if chosen:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in chosen)
        raise ParameterError(f"Expected --node-running without {names}: the node runs already; set its parameters.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="erfnet evaluate-bag",
        description="Replay rosbags over DDS to the real segmentation node, score its masks and their latency, and "
        "write a report.",
    )
    add_options(parser)
    live = parser.add_argument_group("live")
    live.add_argument("--rate", type=parse_rate, default=1.0, metavar="R", help="replay speed (default: 1)")
    live.add_argument(
        "--node-running",
        action="store_true",
        help="use a node that is running already, in this ROS_DOMAIN_ID, instead of starting one",
    )
    live.add_argument(
        "--namespace", default=NAMESPACE, help="of the node that is running already (default: %(default)s)"
    )
    return parser
