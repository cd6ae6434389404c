"""Requirements of kiwicampus/semantic_segmentation_layer, from its source (commit a70cf6e); it was not run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from erfnet_ros.core.class_set import named
from erfnet_ros.ros.points.parameters import PROJECTOR_BY_NAME

ROOT = Path(__file__).resolve().parents[3]
NAV2 = ROOT / "config" / "nav2"

LAYER = {"plugin": str, "enabled": bool, "combination_method": int, "observation_sources": str}
LAYER |= {"use_approximate_time_sync": bool}
SOURCE = {f"{name}_topic": str for name in ("segmentation", "confidence", "labels", "pointcloud")}
SOURCE |= {name: float for name in ("max_obstacle_distance", "min_obstacle_distance", "tile_map_decay_time")}
SOURCE |= {"use_cost_selection": bool, "class_types": list}
CLASS_TYPE = {name: int for name in ("base_cost", "max_cost", "mark_confidence", "samples_to_max_cost")}
CLASS_TYPE |= {"classes": list, "dominant_priority": bool}
"""What the layer declares, and with which types: rclcpp refuses an integer for a double."""


def camera_of(name: str) -> dict[str, Any]:
    layer = yaml.safe_load((NAV2 / f"{name}.yaml").read_text())["/**"]["ros__parameters"]["semantic_segmentation_layer"]
    sources = layer["observation_sources"].split()
    assert {key: type(layer[key]) for key in LAYER} == LAYER
    assert set(layer) == {*LAYER, *sources}
    assert layer["plugin"] == "semantic_segmentation_layer::SemanticSegmentationLayer"
    (source,) = sources
    return layer[source]


@pytest.mark.parametrize("name", ["camvid", "cityscapes"])
def test_the_file_has_the_layers_parameters_in_its_types(name: str) -> None:
    camera = camera_of(name)
    assert {key: type(camera[key]) for key in SOURCE} == SOURCE
    assert set(camera) == {*SOURCE, *camera["class_types"]}
    for class_type in camera["class_types"]:
        assert {key: type(value) for key, value in camera[class_type].items()} == CLASS_TYPE
        # A type without classes is an error to the layer; costs and confidence are bytes.
        assert camera[class_type]["classes"]
        assert 0 <= camera[class_type]["base_cost"] <= camera[class_type]["max_cost"] <= 254
        assert 0 <= camera[class_type]["mark_confidence"] <= 255


@pytest.mark.parametrize("name", ["camvid", "cityscapes"])
def test_every_class_has_a_cost(name: str) -> None:
    """The layer logs an error for each name of label_info that its parameters lack."""
    camera = camera_of(name)
    listed = [class_name for class_type in camera["class_types"] for class_name in camera[class_type]["classes"]]
    assert sorted(listed) == sorted(named(name).names)


@pytest.mark.parametrize("name", ["camvid", "cityscapes"])
def test_the_topics_are_ours(name: str) -> None:
    topics = {topic for parameter, topic in camera_of(name).items() if parameter.endswith("_topic")}
    documented = re.findall(r"`([\w/]+)`", (ROOT / "docs" / "topics.md").read_text())
    assert topics == {f"/segmentation/{topic}" for topic in ("mask", "confidence", "label_info", "points")}
    assert {topic.removeprefix("/segmentation/") for topic in topics} <= set(documented)


def test_the_launch_example_names_files_and_arguments_that_exist() -> None:
    root = ElementTree.parse(ROOT / "launch" / "nav2_costmap.launch.xml").getroot()
    (include,) = root.iter("include")
    share = "$(find-pkg-share erfnet_ros)/"
    files = [include.attrib["file"], *(param.attrib["from"] for param in root.iter("param"))]
    for file in files:
        assert (ROOT / file.removeprefix(share).replace("$(var classes)", "cityscapes")).is_file()
    text = (ROOT / "launch" / "segment.launch.py").read_text()
    for argument in include.iter("arg"):
        assert argument.attrib["name"] in PROJECTOR_BY_NAME or f'"{argument.attrib["name"]}"' in text


def test_mask_confidence_and_cloud_are_taken_by_the_layer(fast_checkpoint: Path) -> None:
    """Its subscriptions, its synchronization and its checks, over real DDS."""
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    pytest.importorskip("erfnet_ros.msg", reason="needs the built workspace (make build)")
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image, PointCloud2, PointField
    from support.depth_scene import RGB, Scene, calibration, depth_image, running_projector
    from support.live_node import image_message, running_node

    # SensorDataQoS(50)
    sensor_data = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
    with (
        running_node({"checkpoint": str(fast_checkpoint)}) as node,
        running_projector(environment={"ROS_DOMAIN_ID": str(node.domain)}) as (_, client),
    ):
        masks, confidences = (client.listen(name, Image, sensor_data) for name in ("mask", "confidence"))
        clouds = client.listen("points", PointCloud2, sensor_data)
        scene = Scene(client, image=image_message(RGB), depth=depth_image(), info=calibration())
        cloud = scene.first_cloud(clouds)

        def of_its_moment(images: list[Image]) -> Image | None:
            # setMaxIntervalDuration(0.1 s)
            return next((image for image in images if abs(_stamp_s(image) - _stamp_s(cloud)) <= 0.1), None)

        mask = client.wait_for(lambda: of_its_moment(masks), "a mask of the cloud's moment")
        confidence = client.wait_for(lambda: of_its_moment(confidences), "a confidence of the cloud's moment")
        assert mask.width * mask.height == cloud.width * cloud.height
        for image in (mask, confidence):
            assert image.encoding == "mono8"
            # The layer reads data[v * width + u].
            assert (image.step, len(image.data)) == (image.width, image.width * image.height)
        kinds = {field.name: field.datatype for field in cloud.fields}
        assert all(kinds[axis] == PointField.FLOAT32 for axis in "xyz")
        assert cloud.header.frame_id == mask.header.frame_id


def _stamp_s(message: Any) -> float:
    return float(message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec)
