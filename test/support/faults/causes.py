"""Causes of faults: each makes one to a rig and returns when it was over, ns of `time.time_ns`, and a remark.

The effort of a cause is 1 for all of it, and less for a shorter one.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy
from lifecycle_msgs.msg import Transition
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import Trigger
from support.faults import messages
from support.faults.broken_engine import FAULTS as BROKEN
from support.faults.hanging_engine import WAIT
from support.faults.rig import Rig
from support.live_node import compressed_message, image_message

from erfnet_ros.evaluation.metrics.latency import latency_statistics
from erfnet_ros.ros import diagnostic_keys as keys

Over = tuple[int, str]

_READER = """
import sys, rclpy
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("reader")
node.create_subscription(Image, sys.argv[1], lambda message: None, 10)
rclpy.spin(node)
"""


def count_of(whole: int, effort: float) -> int:
    """Return the part of a number that an effort takes, at least 1."""
    return max(1, round(whole * effort))


@contextmanager
def growth(process: psutil.Process) -> Iterator[list[str]]:
    """Yield a list that tells afterwards by how much a process's memory grew."""
    before, told = process.memory_info().rss, list[str]()
    yield told
    told.append(f"memory {(process.memory_info().rss - before) / 1e6:+.1f} MB")


def change(rig: Rig, *names: str) -> None:
    """Make lifecycle transitions."""
    for name in names:
        assert rig.client.change(getattr(Transition, f"TRANSITION_{name.upper()}")), f"the transition {name} failed"


def camera(rig: Rig, effort: float, *options: str) -> Over:
    """Kill the camera and start another; over when the other is discovered."""
    topic = rig.topics(*options)[0]

    def publishers() -> set[bytes]:
        return {bytes(info.endpoint_gid) for info in rig.client.get_publishers_info_by_topic(topic)}

    before = publishers()
    rig.start_camera(*options)
    rig.client.wait_for(lambda: publishers() - before, "the camera's return")
    return time.time_ns(), ""


def reader(rig: Rig, effort: float) -> Over:
    """Kill readers of another output while they read."""
    topic, number = "/segmentation/overlay", count_of(5, effort)
    for _ in range(number):
        known = rig.client.count_subscribers(topic)
        process = rig.start("reader", "-c", _READER, topic)
        rig.client.wait_for(lambda known=known: rig.client.count_subscribers(topic) > known, "the reader")
        process.stop([(signal.SIGKILL, 5.0)])
    return time.time_ns(), f"{number} times"


def node(rig: Rig, effort: float) -> Over:
    """Kill the node while it saves samples."""
    service = rig.client.create_client(Trigger, "/segmentation/segmenter/save_sample")
    assert rig.save_sample().success
    process = rig.node()
    for _ in range(5):
        service.call_async(Trigger.Request())
    rig.client.spin_for(0.05)
    process.kill()
    process.wait(10)
    return time.time_ns(), "its supervisor starts another"


def fuzz(rig: Rig, publisher: Publisher, strategy: SearchStrategy[Any], number: int) -> str:
    """Send messages of a strategy; return how many were refused and what they cost."""
    rig.client.wait_for(publisher.get_subscription_count, "the node's subscription")
    rejected = rig.figure(keys.FRAMES_REJECTED)

    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def send(message: Any) -> None:
        publisher.publish(message)
        rig.client.spin_for(0.001)

    with growth(rig.node()) as told:
        send()
    rig.client.destroy_publisher(publisher)
    return f"{number} sent, {rig.figure(keys.FRAMES_REJECTED) - rejected} refused, {told[0]}"


def images(rig: Rig, effort: float) -> Over:
    """Send what no camera should send in the camera's place."""
    rig.kill_camera()
    remark = fuzz(rig, rig.client.camera(rig.topics()[0]), messages.IMAGES, count_of(10_000, effort))
    return camera(rig, effort)[0], remark


def compressed_images(rig: Rig, effort: float) -> Over:
    """Send damaged files and texts in the camera's place."""
    rig.kill_camera()
    publisher = rig.client.camera(rig.topics("jpeg")[0], message_type=CompressedImage)
    remark = fuzz(rig, publisher, messages.COMPRESSED_IMAGES, count_of(10_000, effort))
    return camera(rig, effort, "--encoding", "jpeg")[0], remark


def camera_infos(rig: Rig, effort: float) -> Over:
    """Send calibrations of any numbers beside the camera's images."""
    infos = rig.client.listen("camera_info", CameraInfo)
    publisher = rig.client.camera("/fault/camera_info", message_type=CameraInfo)
    remark = fuzz(rig, publisher, messages.CAMERA_INFOS, count_of(2000, effort))
    return time.time_ns(), f"{remark}, {len(infos)} republished"


def bombs(rig: Rig, effort: float) -> Over:
    """Send PNG files of kilobytes that are gigabytes of pixels."""
    publisher = rig.client.camera(rig.topics("jpeg")[0], message_type=CompressedImage)
    rig.client.wait_for(publisher.get_subscription_count, "the node's subscription")
    sides = (5000, 30_000)[: count_of(2, effort)]
    with growth(rig.node()) as told:
        for side in sides:
            message, rejected = compressed_message(messages.bomb(side)), rig.figure(keys.FRAMES_REJECTED)
            while rig.figure(keys.FRAMES_REJECTED) == rejected:
                # The camera's next image may replace it.
                publisher.publish(rig.client.stamped(message))
    rig.client.destroy_publisher(publisher)
    return time.time_ns(), f"{', '.join(f'{side}x{side}' for side in sides)}, {told[0]}"


def parameters(rig: Rig, effort: float) -> Over:
    """Set parameters as fast as the node answers, a third of them to what is refused."""
    draw = random.Random(0)
    values = {
        True: (("overlay_alpha", 0.2), ("jpeg_quality", 50), ("max_rate", 0.0)),
        False: (("overlay_alpha", 7.0), ("jpeg_quality", 0), ("max_rate", -1.0)),
    }
    number = count_of(1300, effort)
    with growth(rig.node()) as told:
        for _ in range(number):
            right = draw.random() < 2 / 3
            name, value = draw.choice(values[right])
            assert rig.client.set(name, value).successful == right, f"{name} of {value}: not {right}"
    return time.time_ns(), f"{number} sets, {told[0]}"


def lifecycle(rig: Rig, effort: float) -> Over:
    """Deactivate and activate; every tenth time the engine is freed and loaded again as well."""
    number = count_of(300, effort)
    change(rig, "deactivate", "cleanup", "configure", "activate")
    with growth(rig.node()) as told:
        for cycle in range(number):
            change(rig, "deactivate", *(("cleanup", "configure") if cycle % 10 == 9 else ()), "activate")
    return time.time_ns(), f"{number} cycles, {told[0]}"


def subscribers(rig: Rig, effort: float) -> Over:
    """Let readers of several outputs come and go."""
    kinds = (("confidence", Image), ("color_mask", Image), ("mask/compressed", CompressedImage))
    number = count_of(100, effort)
    with growth(rig.node()) as told:
        for turn in range(number):
            topic, kind = kinds[turn % len(kinds)]
            found: list[Any] = []
            subscription = rig.client.create_subscription(kind, f"/segmentation/{topic}", found.append, 1)
            rig.client.wait_for(lambda found=found: found, topic)
            rig.client.destroy_subscription(subscription)
    return time.time_ns(), f"{number} times, {told[0]}"


def to_compressed(rig: Rig, effort: float) -> Over:
    """Configure the node anew for CompressedImage, in which the camera comes back."""
    change(rig, "deactivate", "cleanup")
    assert rig.client.set("image_transport", "compressed").successful
    change(rig, "configure", "activate")
    return camera(rig, effort, "--encoding", "jpeg")


def samples(rig: Rig, effort: float, *, reason: str) -> Over:
    """Ask for samples where they cannot be saved."""
    answer = rig.save_sample()
    assert not answer.success, "a sample was saved"
    assert reason in answer.message, answer.message
    return time.time_ns(), f"'{answer.message}'"


def broken_answers(rig: Rig, effort: float) -> Over:
    """Wait until the node's engine has failed in every way."""
    rejected, wanted = rig.figure(keys.FRAMES_REJECTED), count_of(3 * len(BROKEN), effort)
    rig.client.wait_for(lambda: rig.figure(keys.FRAMES_REJECTED) >= rejected + wanted, "as many failures")
    return time.time_ns(), f"{wanted} answers of {len(BROKEN)} kinds refused"


def hanging_engine(rig: Rig, effort: float) -> Over:
    """Send an image in which the engine does not return; over when the node has ended itself."""
    publisher, process = rig.client.camera(rig.topics()[0]), rig.node()
    content = np.full((240, 320, 3), WAIT, np.uint8)
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        publisher.publish(image_message(content))
        rig.client.spin_for(0.1)
    rig.client.destroy_publisher(publisher)
    return time.time_ns(), "ended by its watchdog, its supervisor starts another"


def several_cameras(rig: Rig, effort: float) -> Over:
    """Look at how the node shares its time among the cameras."""
    rig.client.spin_for(20 * effort)
    counts = [len(seen) for seen in rig.arrivals.values()]
    ages_ms = [(mask.at_ns - mask.stamp_ns) / 1e6 for seen in rig.arrivals.values() for mask in seen]
    p99 = latency_statistics(ages_ms).p99
    assert min(counts) > 0.7 * max(counts), f"unfair: {counts} masks"
    return time.time_ns(), f"{min(counts)} to {max(counts)} masks a camera, stamp to mask {p99:.0f} ms (p99)"


def can_mount() -> bool:
    """Return whether `mounted` works here."""
    command = ["unshare", "--map-root-user", "--mount", "true"]
    return shutil.which("unshare") is not None and subprocess.run(command, check=False).returncode == 0


def mounted(folder: Path, options: str) -> Sequence[str]:
    """Return a command's prefix that runs it with a small file system of its own at a folder."""
    mount = f'mount -t tmpfs -o mode=755,{options} none "$0" && "$@"'
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(folder)]
