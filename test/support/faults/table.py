"""Table of faults that a robot's node meets, and what became of the node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from support.faults import causes
from support.faults.causes import Over
from support.faults.rig import Rig


@dataclass(frozen=True)
class Fault:
    """A fault: its name, its cause, and whether it ends the node, so that its supervisor starts another."""

    name: str
    cause: Callable[[Rig, float], Over]
    restarts: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of the node.

    Attributes:
        survived: Whether masks came again, from the same process unless the fault ends it.
        recovery_s: See `Rig.recovery_s`; NaN where the node did not survive.
        wrong_headers: Masks that were not of the picture that their header names.
        half_written: Files that cannot be read whole.
        remark: What else was measured, or why it did not survive.
    """

    name: str
    survived: bool
    recovery_s: float
    wrong_headers: int
    half_written: int
    remark: str


def measure(rig: Rig, fault: Fault, effort: float = 1.0) -> Outcome:
    """Cause a fault, and look at what becomes of the node."""
    wrong, process = rig.wrong_headers, rig.node()
    survived, recovery_s = True, float("nan")
    try:
        end_ns, remark = fault.cause(rig, effort)
        recovery_s = rig.recovery_s(end_ns)
        if fault.restarts == (rig.node() == process):
            survived, remark = False, f"the node's process is {'the same' if fault.restarts else 'another'}"
    except AssertionError as error:
        survived, remark = False, str(error)
    return Outcome(fault.name, survived, recovery_s, rig.wrong_headers - wrong, rig.half_written(), remark)


def _back(*options: str) -> Callable[[Rig, float], Over]:
    return lambda rig, effort: causes.camera(rig, effort, *options)


ON_ONE_NODE = (
    Fault("camera killed, and back", _back()),
    Fault("camera killed, back with another size", _back("--size", "240x320")),
    Fault("camera killed, back with another encoding", _back("--encoding", "mono8")),
    Fault("camera killed, back as best effort", _back("--reliability", "best_effort")),
    Fault("camera's clock an hour back", _back("--clock", "-3600")),
    Fault("camera's clock an hour ahead", _back("--clock", "3600")),
    Fault("reader killed in mid-stream", causes.reader),
    Fault("readers come and go", causes.subscribers),
    Fault("parameter storm", causes.parameters),
    Fault("images that no camera should send", causes.images),
    Fault("calibrations of any numbers", causes.camera_infos),
    Fault("lifecycle cycles", causes.lifecycle),
    Fault("node killed while it saves samples", causes.node, restarts=True),
    Fault("camera back with another message type", causes.to_compressed),
    Fault("compressed images that no camera should send", causes.compressed_images),
    Fault("decompression bombs", causes.bombs),
)
"""Faults of one node after the other: the last ones need what `to_compressed` leaves."""


def _on_mount(options: str, folder: Path) -> Rig:
    """Return the rig of a node whose cache and samples lie on a file system of its own."""
    (folder / "mount").mkdir()
    return Rig(
        folder,
        {"engine": "auto"},
        samples="mount",
        prefix=causes.mounted(folder / "mount", options),
        environment={"ERFNET_ROS_CACHE": str(folder / "mount")},
    )


OWN_NODE: tuple[tuple[Fault, Callable[[Path], Rig]], ...] = (
    (
        Fault("every tenth answer of the engine is an error or nonsense", causes.broken_answers),
        lambda folder: Rig(folder, command=("-m", "support.faults.broken_engine")),
    ),
    (
        Fault("engine that does not return", causes.hanging_engine, restarts=True),
        lambda folder: Rig(
            folder, {"engine": "hanging", "engine_timeout": 2.0}, command=("-m", "support.faults.hanging_node")
        ),
    ),
    (Fault("disk full", partial(causes.samples, reason="No space left")), partial(_on_mount, "size=64k")),
    (Fault("read-only cache and samples", partial(causes.samples, reason="Read-only")), partial(_on_mount, "ro")),
    (
        Fault("8 cameras at 30 Hz", causes.several_cameras),
        lambda folder: Rig(folder, cameras=[f"camera_{number}" for number in range(8)]),
    ),
)
"""Faults with a node of their own."""
