"""Transport settings for large images, made once and never over the user's own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from erfnet_ros.ros.transport import PROFILE_VARIABLES, missing_profile, profile_settings


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROFILE_VARIABLES, "ROS_DISTRO"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("distribution", "variable"),
    [
        ("humble", "FASTRTPS_DEFAULT_PROFILES_FILE"),
        ("jazzy", "FASTRTPS_DEFAULT_PROFILES_FILE"),
        ("kilted", "FASTDDS_DEFAULT_PROFILES_FILE"),
        (None, "FASTDDS_DEFAULT_PROFILES_FILE"),
    ],
)
def test_the_profile_goes_into_the_one_variable_that_the_distribution_reads(
    monkeypatch: pytest.MonkeyPatch, distribution: str | None, variable: str
) -> None:
    """Fast DDS 3 refuses a profile that it is given under both names, and then all large images are lost."""
    if distribution:
        monkeypatch.setenv("ROS_DISTRO", distribution)
    assert profile_settings("/share/fastdds.xml") == {variable: "/share/fastdds.xml"}
    assert variable in (missing_profile("rmw_fastrtps_cpp") or "")


@pytest.mark.parametrize("variable", PROFILE_VARIABLES)
def test_a_profile_of_the_users_own_stays(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "/home/me/own.xml")
    assert profile_settings("/share/fastdds.xml") == {}
    assert missing_profile("rmw_fastrtps_cpp") is None


def test_other_middlewares_need_no_profile() -> None:
    assert missing_profile("rmw_zenoh_cpp") is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallinfo2 is glibc's")
def test_large_blocks_stay_in_the_heap_once_asked_for() -> None:
    """A full-HD image that is mapped and unmapped for every frame costs more than its copy."""
    code = """
import ctypes, numpy as np
from erfnet_ros.ros.transport import keep_large_blocks
class Info(ctypes.Structure):
    _fields_ = [(n, ctypes.c_size_t) for n in "arena ordblks smblks hblks hblkhd a b c d e".split()]
libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
def mapped():
    before = libc.mallinfo2().hblks
    image = np.empty(1920 * 1080 * 3, np.uint8)
    return libc.mallinfo2().hblks - before
first = mapped()
assert keep_large_blocks()
print(first, mapped())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if "undefined symbol" in done.stderr:
        pytest.skip("this C library has no mallinfo2")
    assert done.stdout.split() == ["1", "0"], done.stderr
