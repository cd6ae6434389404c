"""Initial weights of a run: a checkpoint of any classes, a PyTorch file, or an encoder alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from erfnet_ros.core.errors import CheckpointError
from erfnet_ros.models import checkpoint as checkpoints
from erfnet_ros.models.erfnet import ERFNet
from erfnet_ros.models.state_dict import HEADS, expected_tensors, shown

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InitialWeights:
    """Tensors by the authors' names; `names` says which class each logit is of, empty where that is not known."""

    path: Path
    tensors: Mapping[str, Tensor]
    names: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> InitialWeights:
        """Read a checkpoint, or a `.pth` of the authors' code: a network, or an encoder trained on ImageNet or alone.

        Raises:
            CheckpointError: The file cannot be read, or its tensors are not those of an ERFNet.
        """
        if path.suffix not in (".pth", ".pt", ".tar"):
            checkpoint = checkpoints.load(path)
            return cls(path, checkpoint.state_dict, checkpoint.class_set.names)
        found = checkpoints.unpickled_tensors(path)
        body = {name: like.shape for name, like in expected_tensors(1).items() if not name.startswith(_HEAD_NAMES)}
        counters = {name for name in body if name.endswith("num_batches_tracked")}
        parts = ("encoder.", "decoder.") if any(name.startswith("decoder.") for name in found) else ("encoder.",)
        wanted = [name for name in body if name.startswith(parts) and (name in found or name not in counters)]
        wrong = [name for name in wanted if name not in found or found[name].shape != body[name]]
        if wrong:
            raise CheckpointError(
                f"Expected the weights of an ERFNet or of its encoder in {path}, got none or other shapes for "
                f"{shown(wrong)}; name another file, or leave out --init."
            )
        log.info("The classes of %s are not known: all heads start anew.", path)
        return cls(path, {name: found[name] for name in wanted}, ())

    @torch.no_grad()
    def copy_to(self, network: ERFNet, names: tuple[str, ...]) -> None:
        """Copy all but the heads, and of the heads the rows of classes that have the same name in both."""
        own = network.state_dict()
        for name, tensor in self.tensors.items():
            if not name.startswith(_HEAD_NAMES):
                own[name].copy_(tensor)
        kept = [name for name in names if name in self.names]
        for head, axis in HEADS:
            for name in kept:
                to, source = names.index(name), self.names.index(name)
                own[f"{head}.weight"].select(axis, to).copy_(self.tensors[f"{head}.weight"].select(axis, source))
                own[f"{head}.bias"][to] = self.tensors[f"{head}.bias"][source]
        if len(kept) < len(names):
            log.info(
                "Starting from %s: %d of %d classes keep their weights (%s).",
                self.path, len(kept), len(names), shown(kept) or "none",
            )  # fmt: skip


_HEAD_NAMES = tuple(f"{head}." for head, _ in HEADS)
