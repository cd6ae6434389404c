"""A camera, its segmenter and a depth camera as the projector sees them, and the projector's process."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from support.live_node import Client, NodeProcess, client_of, image_message

from erfnet_ros.data.synthetic.street import Street

WIDTH, HEIGHT = 160, 120
RGB = Street(seed=4, size=(WIDTH, HEIGHT)).frame(10)[0]
LABELS = np.random.default_rng(1).integers(0, 11, (HEIGHT, WIDTH), np.uint8)
CONFIDENCE = np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH), np.uint8)
FX, CX, CY = 150.0, 79.5, 61.0
FRAME = "camera_optical_frame"
DEPTH, INFO = "/depth/image", "/depth/camera_info"


def ground_depth() -> np.ndarray:
    """Depth (H, W) in meters of a plane 1.4 m below the camera; NaN beyond 40 m."""
    down = (np.arange(HEIGHT, dtype=np.float32)[:, None] - CY) / FX
    with np.errstate(divide="ignore"):
        return np.repeat(np.where(down > 1.4 / 40, np.float32(1.4) / down, np.nan), WIDTH, axis=1).astype(np.float32)


def depth_image(encoding: str = "32FC1", depth: np.ndarray | None = None) -> Image:
    meters = ground_depth() if depth is None else depth
    pixels = np.nan_to_num(meters * 1000).astype("<u2") if encoding == "16UC1" else meters.astype("<f4")
    height, width = pixels.shape
    data = array("B", pixels.tobytes())
    return Image(height=height, width=width, encoding=encoding, step=width * pixels.itemsize, data=data)


def calibration(
    k: tuple[float, ...] = (FX, 0.0, CX, 0.0, FX, CY, 0.0, 0.0, 1.0), width: int = WIDTH, height: int = HEIGHT
) -> CameraInfo:
    return CameraInfo(width=width, height=height, k=k)


def gray(pixels: np.ndarray) -> Image:
    return image_message(pixels[..., None], "mono8")


def cloud(height: int = HEIGHT) -> PointCloud2:
    points = np.random.default_rng(3).normal(0, 3, (HEIGHT * WIDTH, 4)).astype("<f4")
    fields = [PointField(name=name, offset=4 * i, datatype=7, count=1) for i, name in enumerate(("x", "y", "z", "i"))]
    size = {"height": height, "width": HEIGHT * WIDTH // height, "point_step": 16, "row_step": 16 * WIDTH}
    return PointCloud2(**size, fields=fields, data=array("B", points.tobytes()))


def fields_of(message: PointCloud2) -> np.ndarray:
    """Read a cloud as any consumer does, by its fields."""
    kinds = {PointField.FLOAT32: "<f4", PointField.UINT32: "<u4"}
    layout = {
        "names": [field.name for field in message.fields],
        "formats": [kinds[field.datatype] for field in message.fields],
        "offsets": [field.offset for field in message.fields],
        "itemsize": message.point_step,
    }
    assert message.row_step == message.width * message.point_step
    return np.frombuffer(message.data, np.dtype(layout)).reshape(message.height, message.width)


class Scene:
    """The messages of one moment, by topic."""

    def __init__(self, client: Client, **messages: Any) -> None:
        self.client = client
        self.messages = messages
        topics = {"image": "/camera/image_raw", "depth": DEPTH, "info": INFO}
        self.publishers = {
            name: client.camera(topics.get(name, f"/segmentation/{name}"), message_type=type(message))
            for name, message in messages.items()
        }

    def publish(self, frame_ids: dict[str, str] | None = None, delays_ns: dict[str, int] | None = None) -> Any:
        """Publish every message once, with one stamp, and return the depth's header."""
        stamp = self.client.stamped(Image()).header.stamp
        for name, message in self.messages.items():
            message.header.stamp.sec = stamp.sec
            message.header.stamp.nanosec = stamp.nanosec + (delays_ns or {}).get(name, 0)
            message.header.frame_id = (frame_ids or {}).get(name, FRAME)
            self.publishers[name].publish(message)
        return self.messages["depth"].header

    def first_cloud(self, clouds: list[PointCloud2]) -> PointCloud2:
        """Publish until a cloud comes."""
        self.client.wait_for(
            lambda: all(publisher.get_subscription_count() for publisher in self.publishers.values()),
            "the subscriptions",
        )

        def try_again() -> bool:
            self.publish()
            self.client.spin_for(0.1)
            return bool(clouds)

        self.client.wait_for(try_again, "a cloud")
        return clouds[0]


def running_process(**options: Any) -> NodeProcess:
    process = NodeProcess(
        options.get("parameters", {}),
        {"image": "/camera/image_raw", "depth": DEPTH},
        options.get("environment", {}),
        "erfnet_ros.ros.points",
    )
    process.domain = int(options.get("environment", {}).get("ROS_DOMAIN_ID", process.domain))
    return process


@contextmanager
def running_projector(**options: Any) -> Iterator[tuple[NodeProcess, Client]]:
    with running_process(**options) as process, client_of(process) as client:
        yield process, client
        assert process.stop() == 0
