"""A background build ends when nobody wants it any more."""

from __future__ import annotations

import threading

import pytest

from erfnet_ros.core.errors import EngineError
from erfnet_ros.inference.tensorrt.background_build import BackgroundBuild
from erfnet_ros.inference.tensorrt.progress import Progress


def test_a_build_beside_that_is_stopped_ends_at_its_next_step() -> None:
    begun, stopped = threading.Event(), threading.Event()
    told: list[float] = []

    def work(progress: Progress) -> None:
        progress(0.1)
        begun.set()
        assert stopped.wait(30)
        progress(0.2)

    build = BackgroundBuild(work, told.append)
    assert begun.wait(30)
    assert not build.done
    build.stop()
    stopped.set()
    with pytest.raises(EngineError, match="Nobody wants it"):
        build.result()
    assert told == [0.1]
