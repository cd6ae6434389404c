"""Settings of the middleware and of malloc for large images."""

from __future__ import annotations

import ctypes
import os
import re
from contextlib import suppress
from pathlib import Path

from erfnet_ros.ros.package_files import package_file

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
"""Option numbers of mallopt(3) in glibc's malloc.h."""

PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""Where Fast DDS looks for its profiles: version 3 (Kilted and later) reads both, version 2 the second."""

_WITH_FAST_DDS_2 = ("humble", "iron", "jazzy")

MALLOC_VARIABLES = {
    "MALLOC_MMAP_THRESHOLD_": str(256 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
"""The same as `keep_large_blocks`, for the environment of a process that does not call it."""


def profile_variable() -> str:
    """Return the environment variable by which this ROS distribution gives Fast DDS its profiles."""
    return PROFILE_VARIABLES[os.environ.get("ROS_DISTRO") in _WITH_FAST_DDS_2]


def profile_settings(profile: Path | str) -> dict[str, str]:
    """Return the environment that makes Fast DDS use `profile`; empty where the user has set a profile already.

    One variable only: Fast DDS refuses a file that it is given under both names.
    """
    if any(os.environ.get(name) for name in PROFILE_VARIABLES):
        return {}
    return {profile_variable(): str(profile)}


def keep_large_blocks() -> bool:
    """Stop glibc from mapping and unmapping a block for every image, which costs more than copying it.

    Returns:
        False where the C library is not glibc and nothing was changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    options = (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD, _M_TOP_PAD)
    settings = zip(options, MALLOC_VARIABLES.values(), strict=True)
    return all([mallopt(option, int(size)) == 1 for option, size in settings])


def remove_own_segments() -> None:
    """Remove Fast DDS's shared memory of this process, 70 MB with the profile, which would outlive an abrupt end."""
    for descriptor in Path("/proc/self/fd").iterdir():
        # Only the owner of a segment keeps the file open that locks it.
        with suppress(OSError):
            lock = descriptor.readlink()
            if re.fullmatch(r"fast(dds|rtps)_[0-9a-f]{16}_el", lock.name):
                lock.with_name(lock.name.removesuffix("_el")).unlink()
                lock.unlink()


def remedy_for_lost_images(implementation: str) -> str:
    """Say how a camera must be started so that large images arrive over an RMW; see `missing_profile`."""
    if not implementation.startswith("rmw_fastrtps"):
        return f"docs/compatibility.md says what large images need with {implementation}."
    return (
        "Fast DDS loses large best-effort images in its default shared memory, and with LARGE_DATA: start the camera "
        f"with 'export {profile_variable()}={package_file('config/fastdds.xml')}' and without "
        "FASTDDS_BUILTIN_TRANSPORTS, or let it publish reliably."
    )


def missing_profile(implementation: str) -> str | None:
    """Say what is missing for large images, or None where nothing is.

    Args:
        implementation: `rclpy.get_rmw_implementation_identifier()`.
    """
    if not implementation.startswith("rmw_fastrtps"):
        return None
    if any(os.environ.get(name) for name in PROFILE_VARIABLES):
        return None
    return (
        "Fast DDS runs with its default shared memory, which loses most images above 0.5 MB: set "
        f"{profile_variable()} to config/fastdds.xml of this package, for the camera as well "
        "(segment.launch.py does it for the node)."
    )
