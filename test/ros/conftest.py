"""Fixtures for tests that run the real node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.erfnet_process import ErfnetProcess

from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.models import checkpoint as checkpoints
from erfnet_ros.models.erfnet import ERFNet

if TYPE_CHECKING:
    from support.live_node import Client, NodeProcess


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    """Give a node with its defaults; modules that need another have a fixture of the same name."""
    from support.live_node import running_node

    with running_node() as process:
        yield process


@pytest.fixture
def client(node: NodeProcess) -> Iterator[Client]:
    """Give a client of the active node."""
    from support.live_node import client_of

    with client_of(node) as client:
        client.reach("active")
        yield client


@pytest.fixture
def start_erfnet() -> Iterator[Callable[..., ErfnetProcess]]:
    """Give `ErfnetProcess`, and end what a failing test leaves behind."""
    with ExitStack() as stack:

        def start(*arguments: str, **options: Any) -> ErfnetProcess:
            process = ErfnetProcess(*arguments, **options)
            stack.callback(process.end)
            return process

        yield start


@pytest.fixture(scope="session")
def fast_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a small input size: what the network says is noise, but fast and always the same."""
    torch.manual_seed(0)
    checkpoint = checkpoints.Checkpoint(CAMVID, ERFNet(len(CAMVID)).state_dict(), (96, 72), "none", None, "Apache-2.0")
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    checkpoints.save(checkpoint, path)
    return path
