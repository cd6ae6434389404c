"""Command `erfnet doctor`: what this machine has and lacks for the segmenter, and what to do about it.

Each probe is a process of its own with a time limit: an extension module that crashes or hangs ends its probe alone,
and what is not installed is a finding. This process needs nothing but Python.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from erfnet_ros.core.errors import ErfnetError
from erfnet_ros.core.printable_text import printable
from erfnet_ros.core.system_info import nvidia_driver, processor, version_of

OK, WARN, ERROR = "ok", "warn", "error"

_SHM_BYTES = 4 * 67_108_864
"""Four participants, each with the segment of config/fastdds.xml."""
_SOCKET_BYTES = 4 << 20
_DISCOVERY_S, _RATE_S = 4.0, 3.0
_FRAMES = 7
_LONGEST = 300


@dataclass(frozen=True)
class Finding:
    """What a probe found: one of OK, WARN (works, but worse than it could) and ERROR, and what to do."""

    level: str
    text: str
    remedy: str = ""


def _python(_: argparse.Namespace) -> Finding:
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {processor()}"
    if not (3, 10) <= sys.version_info[:2] < (3, 14):
        return Finding(ERROR, text, "use Python 3.10 to 3.13, the one that ROS 2 was built for")
    return Finding(OK, text)


def _numpy(_: argparse.Namespace) -> Finding:
    import cv2
    import numpy as np

    return Finding(OK, f"NumPy {np.__version__}, OpenCV {cv2.__version__}")


def _torch(_: argparse.Namespace) -> Finding:
    import torch

    from erfnet_ros.inference.device import unused_gpu

    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    text = f"PyTorch {torch.__version__} ({build}), {torch.get_num_threads()} threads, GPU: {', '.join(gpus) or 'none'}"
    note = unused_gpu()
    return Finding(WARN, text, note) if note else Finding(OK, text)


def _driver(_: argparse.Namespace) -> Finding:
    return Finding(OK, nvidia_driver() or "no NVIDIA driver: the network runs on the CPU")


def _cv_bridge(_: argparse.Namespace) -> Finding:
    if importlib.util.find_spec("cv_bridge") is None:
        return Finding(OK, "not installed, and not needed here")
    import numpy as np

    # By name: it is no requirement of this package.
    importlib.import_module("cv_bridge").CvBridge().cv2_to_imgmsg(np.zeros((8, 8, 3), np.uint8), "bgr8")
    return Finding(OK, "works with this NumPy")


def _ros(_: argparse.Namespace) -> Finding:
    if importlib.util.find_spec("rclpy") is None:
        remedy = "source /opt/ros/DISTRO/setup.bash"
        return Finding(WARN, "ROS 2 is not sourced; only the commands without ROS work", remedy)
    import rclpy

    distribution = os.environ.get("ROS_DISTRO", "DISTRO")
    text = f"ROS 2 {distribution}, {rclpy.get_rmw_implementation_identifier()}"
    if importlib.util.find_spec("erfnet_ros.msg") is None:
        remedy = "colcon build, then source install/setup.bash"
        return Finding(ERROR, f"{text}; the package's messages are not built", remedy)
    if importlib.util.find_spec("vision_msgs") is None:
        remedy = f"apt install ros-{distribution}-vision-msgs"
        return Finding(WARN, f"{text}; without vision_msgs there is no label_info", remedy)
    return Finding(OK, text)


def _transport(_: argparse.Namespace) -> Finding:
    import rclpy

    from erfnet_ros.ros.transport import missing_profile

    note = missing_profile(rclpy.get_rmw_implementation_identifier())
    text = f"ROS_DOMAIN_ID {os.environ.get('ROS_DOMAIN_ID', '0')}"
    return Finding(WARN, f"{text}, no profile for large images", note) if note else Finding(OK, text)


def _shared_memory(_: argparse.Namespace) -> Finding:
    total = shutil.disk_usage("/dev/shm").total
    text = f"/dev/shm holds {total / 1e6:.0f} MB"
    if total < _SHM_BYTES:
        remedy = f"large images are lost below {_SHM_BYTES / 1e6:.0f} MB: docker run --shm-size=512m (or --ipc=host)"
        return Finding(WARN, text, remedy)
    return Finding(OK, text)


def _sockets(_: argparse.Namespace) -> Finding:
    size = int(Path("/proc/sys/net/core/rmem_max").read_text())
    text = f"net.core.rmem_max is {size} bytes"
    if size < _SOCKET_BYTES:
        return Finding(WARN, text, "images from other machines need more: sysctl -w net.core.rmem_max=2147483647")
    return Finding(OK, text)


def _cache(_: argparse.Namespace) -> Finding:
    from erfnet_ros.inference.build_cache import Cache

    cache = Cache()
    found = cache.artifact("doctor", {"made": time.time_ns()}, "json", build=lambda path: {})
    cache.discard(found)
    if found.notes:
        return Finding(WARN, f"{cache.folder} is not used", found.notes[0])
    return Finding(OK, str(cache.folder))


def _checkpoint(options: argparse.Namespace) -> Finding:
    from erfnet_ros.models.checkpoint import load

    found = load(options.checkpoint)
    size = "x".join(map(str, found.input_size))
    return Finding(OK, f"{options.checkpoint or 'the shipped one'}: {len(found.class_set)} classes, trained at {size}")


def _engine(name: str, options: argparse.Namespace) -> Finding:
    from erfnet_ros.inference.device import pick_device
    from erfnet_ros.inference.engine import EngineRequest
    from erfnet_ros.inference.factory import engine_type, open_engine
    from erfnet_ros.inference.parity_check import MIN_AGREEMENT, compare, street
    from erfnet_ros.models.checkpoint import load
    from erfnet_ros.models.pipeline import Pipeline

    request, kind = EngineRequest(load(options.checkpoint)), engine_type(name)
    if name != "pytorch" and not kind.is_candidate(request, pick_device("auto")):
        installed = version_of(*kind.distributions)
        return Finding(OK, "not faster than PyTorch on this device" if installed else "not installed")
    engine, frame = open_engine(request, name), street(request.checkpoint.input_size)[None]
    agreement, _ = compare(engine, Pipeline(request.checkpoint).eval(), frame)
    times_ms = []
    for _ in range(_FRAMES):
        start = time.perf_counter()
        engine(frame)
        times_ms.append(1e3 * (time.perf_counter() - start))
    size = "x".join(map(str, request.checkpoint.input_size))
    text = f"{statistics.median(times_ms):.1f} ms for {size} on {engine.device} in {engine.precision}"
    text += f", {100 * agreement:.2f} % of the classes as in fp32"
    if engine.name != name or agreement < MIN_AGREEMENT:
        return Finding(
            ERROR, text, " ".join(engine.notes) or f"set engine to another than {name}, or precision to fp32"
        )
    return Finding(WARN, text, engine.notes[-1]) if engine.notes else Finding(OK, text)


def _camera(options: argparse.Namespace) -> Finding:
    import rclpy
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import CompressedImage, Image

    kinds: dict[str, Any] = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}
    rclpy.init()
    node = rclpy.create_node("erfnet_doctor")
    _spin(node, _DISCOVERY_S)
    counts: dict[str, int] = {}
    for name, types in node.get_topic_names_and_types():
        wanted = name == options.image_topic if options.image_topic else True
        if wanted and types[0] in kinds and node.get_publishers_info_by_topic(name):
            counts[name] = 0

            def count(_: object, name: str = name) -> None:
                counts[name] += 1

            node.create_subscription(kinds[types[0]], name, count, qos_profile_sensor_data, raw=True)
    if not counts:
        remedy = "start the camera; compare ROS_DOMAIN_ID and topic names"
        if options.image_topic:
            return Finding(WARN, f"nobody publishes {options.image_topic}", remedy)
        return Finding(OK, "no camera runs in this domain")
    _spin(node, _RATE_S)
    qos = {name: node.get_publishers_info_by_topic(name) for name in counts}
    text = ", ".join(
        f"{name} ({'/'.join({each.qos_profile.reliability.name.lower() for each in qos[name]})}, {n / _RATE_S:.1f} Hz)"
        for name, n in counts.items()
    )
    if silent := [name for name, number in counts.items() if not number]:
        remedy = f"nothing arrives on {', '.join(silent)}: see 'transport', for the camera's process too"
        return Finding(WARN, text, remedy)
    return Finding(OK, text)


def _spin(node: Any, seconds: float) -> None:
    import rclpy

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.1)


_IMPORT_CV_BRIDGE = "cv_bridge from apt was built for NumPy 1: pip install 'numpy<2'; this package does not need it"

PROBES: dict[str, tuple[Callable[[argparse.Namespace], Finding], float, str]] = {
    "python": (_python, 20, ""),
    "numpy": (_numpy, 60, "pip install numpy opencv-python-headless, or apt install python3-numpy python3-opencv"),
    "torch": (_torch, 120, "pip install 'torch>=2.4' (https://pytorch.org/get-started/locally)"),
    "driver": (_driver, 20, ""),
    "cv_bridge": (_cv_bridge, 60, _IMPORT_CV_BRIDGE),
    "ros": (_ros, 60, "source ROS 2 and the workspace again; Python must be the one that ROS 2 was built for"),
    "transport": (_transport, 60, "source ROS 2 to check this"),
    "shared memory": (_shared_memory, 20, "mount a tmpfs at /dev/shm"),
    "sockets": (_sockets, 20, ""),
    "cache": (_cache, 60, "name another folder: ERFNET_ROS_CACHE=FOLDER"),
    "checkpoint": (_checkpoint, 120, ""),
    **{
        f"engine {name}": (partial(_engine, name), limit_s, f"choose another engine than {name}")
        for name, limit_s in (("pytorch", 180), ("onnxruntime", 180), ("openvino", 180), ("tensorrt", 600))
    },
    "camera": (_camera, 60, "source ROS 2 to check this"),
}
"""What each probe calls, how many seconds it may take, and the remedy where it fails."""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return 0, or 1 where a probe found an error."""
    options = _parser().parse_args(arguments)
    if options.probe:
        print(json.dumps(asdict(_found(options))), flush=True)
        # Threads of a library must not hold the process.
        os._exit(0)
    names = [name for name in PROBES if not options.only or name.split(" ")[0] in options.only]
    # Engines one after the other, for their times.
    engines = [name for name in names if name.startswith("engine")]
    others = [name for name in names if name not in engines]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
        findings = dict(zip(others, threads.map(lambda name: _probed(name, arguments), others), strict=True))
    findings |= {name: _probed(name, arguments) for name in engines}
    if options.json:
        print(json.dumps({name: asdict(finding) for name, finding in findings.items()}, indent=2))
    else:
        width = max(map(len, findings), default=0)
        for name, finding in findings.items():
            print(f"{finding.level.upper():<5}  {name:<{width}}  {finding.text}")
            if finding.remedy:
                print(f"{'':<{width + 7}}    -> {finding.remedy}")
    return int(any(finding.level == ERROR for finding in findings.values()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="erfnet doctor",
        description="Check what this machine has for the segmenter, and say what to do about the rest. "
        "Exit status: 0, or 1 where something does not work.",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--checkpoint", metavar="FILE", help=".safetensors file (default: the shipped CamVid weights)")
    parser.add_argument("--image-topic", metavar="TOPIC", help="the camera's topic (default: every topic of images)")
    words = list(dict.fromkeys(name.split(" ")[0] for name in PROBES))
    parser.add_argument("--only", nargs="+", choices=words, metavar="PROBE", help=f"some of {', '.join(words)}")
    parser.add_argument("--probe", choices=PROBES, help=argparse.SUPPRESS)
    return parser


def _found(options: argparse.Namespace) -> Finding:
    """Return what a probe finds in this process; whatever it raises is an error with the probe's remedy."""
    probe, _, remedy = PROBES[options.probe]
    try:
        return probe(options)
    except ModuleNotFoundError as error:
        optional = options.probe in ("transport", "camera")
        return Finding(OK if optional else ERROR, f"'{error.name}' is not installed", remedy)
    except ErfnetError as error:
        return Finding(ERROR, str(error))
    except Exception as error:
        return Finding(ERROR, printable(f"{type(error).__name__}: {error}", _LONGEST), remedy)


def _probed(name: str, arguments: Sequence[str]) -> Finding:
    """Run a probe in a process of its own, which is killed at its limit."""
    _, limit_s, remedy = PROBES[name]
    command = [sys.executable, "-m", __name__, *arguments, "--probe", name]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            output, errors = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return Finding(ERROR, f"no answer within {limit_s:.0f} s", remedy)
    try:
        return Finding(**json.loads(output.decode().splitlines()[-1]))
    except (ValueError, IndexError, TypeError):
        code = process.returncode
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        last = (errors.decode(errors="replace").strip().splitlines() or [""])[-1]
        return Finding(ERROR, printable(f"the probe ended by {how}: {last}", _LONGEST), remedy)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
