"""A camera made of files: plays a source to sensor_msgs/Image at a fixed rate.

Run it with `python -m erfnet_ros.ros.harness.file_camera --source street.mp4 --rate 15`. It is called camera, in the
namespace /camera, and publishes image_raw (or image_raw/compressed) and camera_info, which ROS arguments remap as
usual.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.errors import ErfnetError, ImageError
from erfnet_ros.data.frame_sources import Source, open_source
from erfnet_ros.ros.harness.child_process import exit_on_signals
from erfnet_ros.ros.harness.playback import Playback, Played, wait_for_reader
from erfnet_ros.ros.node.image_conversion import from_array
from erfnet_ros.ros.transport import keep_large_blocks

FRAME_ID = "camera"

_AHEAD_BYTES = 512 << 20
"""Memory for messages prepared ahead; frames beyond it are prepared one by one, between two publications."""

_JPEG_QUALITY = 95


@dataclass(frozen=True)
class _Prepared:
    """Messages of one frame, sharing one header, so that one stamp serves both."""

    image: Image | CompressedImage
    calibration: CameraInfo


class Camera(Node):
    """Publish the frames of a source.

    Args:
        source: Where the frames come from.
        encoding: rgb8, bgr8, or jpeg for sensor_msgs/CompressedImage.
        frame_id: Frame id in every header.
        reliability: Of image and calibration.
    """

    def __init__(self, source: Source, encoding: str, frame_id: str, reliability: ReliabilityPolicy) -> None:
        super().__init__("camera", namespace="/camera")
        self._source = source
        self._encoding = encoding
        self._frame_id = frame_id
        self._ready: dict[int, _Prepared] = {}
        self._ready_bytes = 0
        profile = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=reliability)
        image_type, topic = (CompressedImage, "image_raw/compressed") if encoding == "jpeg" else (Image, "image_raw")
        self._images = self.create_publisher(image_type, topic, profile)
        self._calibrations = self.create_publisher(CameraInfo, "camera_info", profile)

    def prepare(self, indexes: Iterable[int]) -> None:
        """Make the messages of these frames ahead of time, as many as the memory for it holds."""
        for index in indexes:
            if self._ready_bytes > _AHEAD_BYTES:
                return
            if index not in self._ready:
                self._ready[index] = self._prepare(index)
                self._ready_bytes += len(self._ready[index].image.data)

    def wait_for_subscriber(self, timeout_s: float) -> None:
        """Wait until somebody reads the images; see `wait_for_reader`."""
        wait_for_reader(self._images, timeout_s)

    def play(self, indexes: Iterable[int], rate_hz: float, announce: Callable[[int, int], None]) -> Played:
        """Publish these frames, stamped as they leave.

        Args:
            indexes: Frames of the source, in the order of publication.
            rate_hz: Frames per second; a frame that is late is sent at once and delays those behind it.
            announce: Called with index and stamp (ns) right before a frame is published.
        """
        first = last = due = time.monotonic()
        published = 0
        for index in indexes:
            prepared = self._ready.get(index) or self._prepare(index)
            due = max(due, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
            due += 1 / rate_hz
            last = time.monotonic()
            if not published:
                first = last
            self._publish(prepared, index, announce)
            published += 1
        return Played(published, (published - 1) / (last - first) if published > 1 else 0.0)

    def _publish(self, prepared: _Prepared, index: int, announce: Callable[[int, int], None]) -> None:
        now = time.time_ns()
        stamp = prepared.image.header.stamp
        stamp.sec, stamp.nanosec = divmod(now, 1_000_000_000)
        announce(index, now)
        self._images.publish(prepared.image)
        self._calibrations.publish(prepared.calibration)

    def _prepare(self, index: int) -> _Prepared:
        rgb = self._source[index].rgb
        header = Header(frame_id=self._frame_id)
        # All zero but the size: sensor_msgs/CameraInfo's way to say that the camera is not calibrated.
        calibration = CameraInfo(header=header, height=rgb.shape[0], width=rgb.shape[1])
        if self._encoding == "jpeg":
            return _Prepared(_jpeg(rgb, header), calibration)
        return _Prepared(
            from_array(rgb if self._encoding == "rgb8" else rgb[..., ::-1], self._encoding, header), calibration
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the camera until its frames are played; return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(remove_ros_args(["camera", *arguments])[1:])
    keep_large_blocks()
    exit_on_signals()
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    try:
        source = open_source(_without_labels(options.source), CAMVID, frames=options.frames, size=options.size)
        camera = Camera(source, options.encoding, options.frame_id, ReliabilityPolicy[options.reliability.upper()])
        (_play_on_request if options.on_request else _play_once)(camera, len(source), options)
    except ErfnetError as error:
        print(f"camera: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        rclpy.try_shutdown()
    return 0


def _play_once(camera: Camera, length: int, options: argparse.Namespace) -> None:
    camera.prepare(range(length))
    if options.wait:
        camera.wait_for_subscriber(options.wait)
    indexes: Iterable[int] = itertools.cycle(range(length)) if options.loop else range(length)
    played = camera.play(indexes, options.rate, lambda index, stamp_ns: None)
    print(f"Published {played.published} frames at {played.rate_hz:.2f} Hz (asked for {options.rate:g} Hz).")


def _play_on_request(camera: Camera, length: int, options: argparse.Namespace) -> None:
    """Play each list of frame indexes that comes in as a line of JSON, and log every frame as a line of JSON."""

    def log(**fields: object) -> None:
        print(json.dumps(fields), flush=True)

    camera.prepare(range(length))

    def announce(index: int, stamp_ns: int) -> None:
        log(index=index, stamp_ns=stamp_ns, published_ns=stamp_ns)

    log(ready=length)
    for line in sys.stdin:
        if options.wait:
            camera.wait_for_subscriber(options.wait)
        log(**asdict(camera.play(json.loads(line), options.rate, announce)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m erfnet_ros.ros.harness.file_camera", description="Play images to ROS 2 as a camera would."
    )
    parser.add_argument(
        "--source", default="synthetic", help="synthetic, synthetic:SEED, a folder of images, or a video"
    )
    parser.add_argument("--frames", type=int, default=150, help="length of the synthetic street")
    parser.add_argument("--size", type=size_in_pixels, default=(480, 360), help="of the synthetic street, WIDTHxHEIGHT")
    parser.add_argument("--rate", type=positive_rate, default=15.0, help="frames per second")
    parser.add_argument("--encoding", choices=("rgb8", "bgr8", "jpeg"), default="rgb8", help="jpeg: a compressed image")
    parser.add_argument("--reliability", choices=("reliable", "best_effort"), default="reliable", help="of the images")
    parser.add_argument("--frame-id", default=FRAME_ID, help="frame id in every header")
    parser.add_argument(
        "--wait", type=float, default=0.0, help="wait this many seconds for a subscriber; 0: do not wait"
    )
    parser.add_argument("--loop", action="store_true", help="start over at the end, until interrupted")
    parser.add_argument(
        "--on-request",
        action="store_true",
        help="read lists of frame indexes from standard input, log stamps as JSON lines",
    )
    return parser


def size_in_pixels(text: str) -> tuple[int, int]:
    """Read (width, height) from WIDTHxHEIGHT.

    Raises:
        argparse.ArgumentTypeError: Not two whole numbers.
    """
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 640x480, got '{text}'")
    return int(match[1]), int(match[2])


def positive_rate(text: str) -> float:
    """Read a rate in Hz.

    Raises:
        argparse.ArgumentTypeError: Not a number above 0 and up to 1000.
    """
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1000:
        raise argparse.ArgumentTypeError(f"expected a rate above 0 and up to 1000 Hz, got '{text}'")
    return rate


def _without_labels(source: str) -> str:
    """Return the folder of the images alone where `source` has labels beside them: a camera has none to read."""
    folder = Path(source).expanduser() / "images"
    return str(folder) if folder.is_dir() else source


def _jpeg(rgb: Pixels, header: Header) -> CompressedImage:
    ok, encoded = cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]), (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))
    if not ok:
        raise ImageError(f"Expected an image that JPEG can hold, got {rgb.shape}; choose another encoding.")
    data = array("B")
    data.frombytes(encoded.tobytes())
    return CompressedImage(header=header, format="rgb8; jpeg compressed bgr8", data=data)


if __name__ == "__main__":
    sys.exit(main())


CAMERA_TOPIC = "/camera/image_raw"


def camera_playback(arguments: Sequence[str]) -> Playback:
    """Return the camera as a player.

    Args:
        arguments: Of `erfnet_ros.ros.harness.file_camera`.
    """
    return Playback("camera", "erfnet_ros.ros.harness.file_camera", tuple(arguments), CAMERA_TOPIC, frame_id=FRAME_ID)
