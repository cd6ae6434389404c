"""`erfnet doctor`: faults of a machine, and checks that never hang."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import erfnet_ros
from erfnet_ros.inference.factory import ENGINES
from erfnet_ros.ros import doctor

ROOT = Path(erfnet_ros.__file__).parents[1]


def findings(*arguments: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """Return what `erfnet doctor --json` finds, by probe, with the exit status as `status`."""
    command = [sys.executable, "-m", "erfnet_ros.commands", "doctor", "--json", *arguments]
    variables = {**os.environ, **(environment or {})}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=variables)
    assert done.stdout, done.stderr
    return {**json.loads(done.stdout), "status": done.returncode}


def test_every_engine_is_probed() -> None:
    """The command lists them itself, since it must start where PyTorch is missing."""
    assert {f"engine {name}" for name in ENGINES if name != "auto"} <= set(doctor.PROBES)


def test_a_machine_without_ros_and_torch_gets_a_finding_for_each_probe() -> None:
    bare = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": os.environ.get("HOME", "/")}
    command = [os.path.realpath(sys._base_executable), "-m", "erfnet_ros.commands", "doctor"]
    if subprocess.run([command[0], "-c", "import torch"], env=bare, capture_output=True).returncode == 0:
        pytest.skip("PyTorch is installed outside the environment")
    done = subprocess.run(command, env=bare, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.lstrip().startswith("->")]
    assert {line[7:].split("  ")[0] for line in lines} == set(doctor.PROBES)
    assert next(line for line in lines if line[7:].startswith("torch")).startswith("ERROR  torch")
    assert "pip install 'torch>=2.4'" in done.stdout
    assert "source /opt/ros/DISTRO/setup.bash" in done.stdout


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "the probe ended by signal SIGSEGV"),
        ("import time; time.sleep(1000)", "no answer within 8 s"),
        ("raise ImportError('numpy.core.multiarray failed to import')", "ImportError: numpy.core.multiarray failed"),
    ],
)
def test_an_extension_that_crashes_or_hangs_ends_its_own_probe_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: str, text: str
) -> None:
    """As cv_bridge does under a NumPy that it was not built for."""
    (tmp_path / "cv_bridge.py").write_text(content)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    probe, _, remedy = doctor.PROBES["cv_bridge"]
    monkeypatch.setitem(doctor.PROBES, "cv_bridge", (probe, 8, remedy))
    assert doctor.main(["--json", "--only", "cv_bridge", "python"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["python"]["level"] == "ok"
    assert found["cv_bridge"]["level"] == "error"
    assert text in found["cv_bridge"]["text"]
    assert "pip install 'numpy<2'" in found["cv_bridge"]["remedy"]


def test_every_engine_is_tried_with_a_frame_and_a_bad_checkpoint_is_named(tmp_path: Path) -> None:
    found = findings("--only", "engine", "checkpoint")
    assert " ms for 480x360 on " in found["engine pytorch"]["text"]
    assert found["checkpoint"]["text"] == "the shipped one: 11 classes, trained at 480x360"
    assert found["status"] == int(any(found[name]["level"] == "error" for name in found if name != "status"))
    found = findings("--only", "checkpoint", "--checkpoint", str(tmp_path / "none.safetensors"))
    assert found["status"] == 1
    assert "no such file" in found["checkpoint"]["text"]


def test_a_cache_that_others_may_write_is_told(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    found = findings("--only", "cache", environment={"ERFNET_ROS_CACHE": str(tmp_path / "cache")})
    assert found["cache"]["level"] == "warn"
    assert "chmod go-w" in found["cache"]["remedy"]


def test_a_camera_is_found_with_its_qos_and_rate() -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    from support.live_node import Client, free_domain, image_message

    domain = free_domain()
    client, done = Client(domain), threading.Event()
    publisher, message = client.camera("/front/image", reliable=False), image_message(np.zeros((48, 64, 3), np.uint8))

    def publish() -> None:
        while not done.wait(0.05):
            publisher.publish(message)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        environment = {"ROS_DOMAIN_ID": str(domain)}
        found = findings("--only", "camera", environment=environment)
        absent = findings("--only", "camera", "--image-topic", "/rear/image", environment=environment)
    finally:
        done.set()
        thread.join()
        client.close()
    assert found["camera"]["level"] == "ok", found
    assert "/front/image (best_effort, " in found["camera"]["text"]
    rate_hz = float(found["camera"]["text"].split(", ")[-1].split(" ")[0])
    assert 0 < rate_hz < 25, "published at 20 Hz, less where the machine is busy"
    assert absent["camera"]["text"] == "nobody publishes /rear/image"
