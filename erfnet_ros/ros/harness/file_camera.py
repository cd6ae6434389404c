"""File camera: plays images, a video or the synthetic street to sensor_msgs/Image at a fixed rate.

Run it with `python -m erfnet_ros.ros.harness.file_camera --source street.mp4 --rate 15`. Its node is /camera/camera; it
publishes image_raw (or image_raw/compressed) and camera_info, with --depth also depth/image_raw and depth/camera_info,
which ROS arguments remap as usual.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.image_size import parse_camera_size
from erfnet_ros.core.rate import parse_rate
from erfnet_ros.data.frame_sources import Source, open_source
from erfnet_ros.ros.harness.playback import ImagePlayer, Log, Playback, player_parser, run_player
from erfnet_ros.ros.node.image_conversion import compressed_from_array, from_array

CAMERA_TOPIC = "/camera/image_raw"

_MODULE = "erfnet_ros.ros.harness.file_camera"
_FRAME_ID = "camera"
_JPEG_QUALITY = 95

_AHEAD_BYTES = 512 << 20
"""Memory for messages prepared ahead; frames beyond it are prepared one by one, between two publications."""


@dataclass(frozen=True)
class _Prepared:
    """Messages of one frame, sharing one header, so that one stamp serves both."""

    image: Image | CompressedImage
    others: tuple[CameraInfo | Image, ...]


class Camera(ImagePlayer):
    """Player of a source of frames.

    Args:
        source: Where the frames come from; as many as fit into the memory for it are prepared at once.
        options: Of the command line.
    """

    def __init__(self, source: Source, options: argparse.Namespace) -> None:
        compressed = options.encoding == "jpeg"
        image_type, topic = (CompressedImage, "image_raw/compressed") if compressed else (Image, "image_raw")
        super().__init__("camera", topic, message_type=image_type, length=len(source), options=options)
        self._source, self._options = source, options
        topics: dict[str, type] = {"camera_info": CameraInfo}
        if options.depth:
            topics |= {"depth/image_raw": Image, "depth/camera_info": CameraInfo}
        self._others = [self.create_publisher(kind, name, self._profile) for name, kind in topics.items()]
        self._ready: list[_Prepared] = []
        free = _AHEAD_BYTES
        while free > 0 and len(self._ready) < len(source):
            self._ready.append(self._prepare(len(self._ready)))
            free -= len(self._ready[-1].image.data)

    def frames(self, indexes: Iterable[int], log: Log) -> Generator[tuple[int, float, _Prepared], None, None]:
        """Yield index, period and messages of each frame; see `ImagePlayer`."""
        for index in indexes:
            prepared = self._ready[index] if index < len(self._ready) else self._prepare(index)
            yield index, 1 / self._options.rate, prepared

    def stamp(self, content: _Prepared) -> tuple[_Prepared, int]:
        """Stamp the messages with the time of now."""
        now_ns = time.time_ns()
        stamp = content.image.header.stamp
        stamp.sec, stamp.nanosec = divmod(now_ns, 1_000_000_000)
        return content, now_ns

    def publish(self, message: _Prepared) -> None:
        """Publish image, calibration and depth."""
        self._images.publish(message.image)
        for publisher, other in zip(self._others, message.others, strict=True):
            publisher.publish(other)

    def _prepare(self, index: int) -> _Prepared:
        rgb = self._source[index].rgb
        header, encoding = Header(frame_id=self._options.frame_id), self._options.encoding
        # All zero but the size: sensor_msgs/CameraInfo's way to say that the camera is not calibrated.
        calibration = CameraInfo(header=header, height=rgb.shape[0], width=rgb.shape[1])
        others: tuple[CameraInfo | Image, ...] = (calibration,)
        if self._options.depth:
            depth = self._source.depth(index)
            fx, fy, cx, cy = depth.intrinsics
            calibration.distortion_model, calibration.d = "plumb_bob", [0.0] * 5
            calibration.k = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
            calibration.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
            calibration.p = [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
            others = (calibration, from_array(depth.meters, "32FC1", header), calibration)
        if encoding == "jpeg":
            return _Prepared(compressed_from_array(rgb, header, _JPEG_QUALITY), others)
        return _Prepared(from_array(rgb if encoding == "rgb8" else rgb[..., ::-1], encoding, header), others)


def main(argv: Sequence[str] | None = None) -> int:
    """Play the source; return the exit status."""
    parser = player_parser(_MODULE, "Play images to ROS 2 as a camera would.")
    parser.add_argument(
        "--source", default="synthetic", help="synthetic, synthetic:SEED, a folder of images, or a video"
    )
    parser.add_argument("--frames", type=int, default=150, help="length of the synthetic street")
    parser.add_argument(
        "--size", type=parse_camera_size, default=(480, 360), help="of the synthetic street, WIDTHxHEIGHT"
    )
    parser.add_argument("--rate", type=parse_rate, default=15.0, help="frames per second")
    parser.add_argument("--encoding", choices=("rgb8", "bgr8", "jpeg"), default="rgb8", help="jpeg: a compressed image")
    parser.add_argument("--frame-id", default=_FRAME_ID, help="frame id in every header")
    parser.add_argument("--depth", action="store_true", help="publish the synthetic street's depth as well")
    parser.add_argument("--loop", action="store_true", help="start over at the end, until interrupted")
    return run_player("camera", parser=parser, open_player=_open, argv=argv)


@contextmanager
def _open(options: argparse.Namespace) -> Iterator[Camera]:
    folder = Path(options.source).expanduser() / "images"
    # A camera has no labels to read, which may be missing or broken.
    source = str(folder) if folder.is_dir() else options.source
    yield Camera(open_source(source, CAMVID, frames=options.frames, size=options.size), options)


def camera_playback(**options: object) -> Playback:
    """Return the camera as a player with options of its command line, such as `rate=15` or `depth=True`."""
    flags = [f"--{name}" for name, value in options.items() if value is True]
    values = [f"--{name}={value}" for name, value in options.items() if not isinstance(value, bool)]
    return Playback("camera", _MODULE, (*flags, *values), CAMERA_TOPIC, frame_id=_FRAME_ID)


if __name__ == "__main__":
    sys.exit(main())
