"""Which segmentation node a rig uses, and how it is started."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from erfnet_ros.ros.harness.child_process import node_command
from erfnet_ros.ros.harness.output_recorder import NAMESPACE
from erfnet_ros.ros.harness.playback import Playback


@dataclass(frozen=True)
class NodeUnderTest:
    """The segmentation node: one that the rig starts, or one that is running already.

    Attributes:
        parameters: As `-p NAME:=VALUE` has them; None for a node that somebody else started.
        log: File for what the node writes.
        namespace: Of the node.
    """

    parameters: Mapping[str, str | float] | None
    log: Path | None = None
    namespace: str = NAMESPACE

    def command(self, playback: Playback) -> list[str]:
        """Return the command that starts the node as the reader of `playback`."""
        image = "image/compressed" if playback.compressed else "image"
        command = [*node_command(), "--ros-args", "-r", f"{image}:={playback.topic}"]
        transport = {"image_transport": "compressed"} if playback.compressed else {}
        for name, value in {**(self.parameters or {}), **transport}.items():
            # JSON's strings are YAML's: the value stays a string, whatever it looks like.
            command += ["-p", f"{name}:={json.dumps(value)}"]
        return command


def own_node(parameters: Mapping[str, str | float], log: Path | None = None) -> NodeUnderTest:
    """Return a node that the rig starts and stops."""
    return NodeUnderTest(parameters, log)
