"""Nothing that a test sends leaves this machine, and large images get the transport that users are told to set."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

from erfnet_ros.ros.transport import profile_settings

ROOT = Path(__file__).resolve().parents[1]

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.update(profile_settings(ROOT / "config" / "fastdds.xml"))

# What tests build must not be found in the user's own cache, nor taken from it.
_cache = tempfile.TemporaryDirectory(prefix="erfnet_ros_tests_")
os.environ["ERFNET_ROS_CACHE"] = _cache.name

# On a busy machine examples take long without a fault.
hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("busy")

# What a shell starts in the background (`make test &`, many a CI) inherits an ignored SIGINT and passes it on to the
# processes that tests interrupt; a handler of our own is reset to the default in them.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def threads_of_torch() -> Iterator[None]:
    """Give back the threads that a module took: bf16 sums depend on them, and the node's labels are held to the bit."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
