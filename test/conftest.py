"""Nothing that a test sends leaves this machine, and large images get the transport that users are told to set."""

from __future__ import annotations

import os
import signal
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(ROOT / "config" / "fastdds.xml"))

# What a shell starts in the background (`make test &`, many a CI) inherits an ignored SIGINT and passes it on to the
# processes that tests interrupt; a handler of our own is reset to the default in them.
signal.signal(signal.SIGINT, signal.default_int_handler)
