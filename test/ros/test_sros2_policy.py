"""SROS 2 example policies, compared with what each running node uses."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("erfnet_ros.msg", reason="needs the built workspace (make build)")

from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from support.depth_scene import DEPTH, running_projector
from support.live_node import NAMESPACE, Client, client_of, running_node

from erfnet_ros.ros.diagnostic_keys import NODE_NAME, PROJECTOR_NAME

POLICIES = Path(__file__).parents[2] / "config" / "sros2"


def assert_grants_match(client: Client, name: str) -> None:
    """Compare what a node's policy allows with what the node has."""
    (profile,) = ElementTree.parse(POLICIES / f"{name}.policy.xml").iter("profile")
    assert (profile.get("ns"), profile.get("node")) == (NAMESPACE, name)
    # vision_msgs is optional, and Humble has no service for type descriptions.
    optional = {f"{NAMESPACE}/label_info", f"{NAMESPACE}/{name}/get_type_description"}

    def granted(kind: str, action: str) -> set[str]:
        entries = {entry.text or "" for group in profile.iter(kind) if group.get(action) == "ALLOW" for entry in group}
        prefixes = {"/": "", "~": f"{NAMESPACE}/{name}"}
        return {prefixes.get(entry[0], f"{NAMESPACE}/") + entry.removeprefix("~") for entry in entries}

    def used(kind: str) -> set[str]:
        return {topic for topic, _ in getattr(client, f"get_{kind}_names_and_types_by_node")(name, NAMESPACE)}

    assert used("subscriber") | {"/clock"} == granted("topics", "subscribe")
    for kind, what, action in (("publisher", "topics", "publish"), ("service", "services", "reply")):
        assert granted(what, action) - optional <= used(kind) <= granted(what, action)


def test_the_segmenters_policy_grants_what_it_uses_and_no_more() -> None:
    with running_node(remap={"image": "/camera/image_raw"}) as process, client_of(process) as client:
        client.reach("active")
        client.listen("camera_info", CameraInfo)
        client.wait_for(lambda: client.count_subscribers("/camera/camera_info"), "the node's subscription")
        assert_grants_match(client, NODE_NAME)


def test_the_projectors_policy_grants_what_it_uses_and_no_more() -> None:
    with running_projector() as (_, client):
        client.camera(DEPTH, message_type=Image)
        client.listen("points", PointCloud2)
        client.wait_for(lambda: client.count_subscribers("/depth/camera_info"), "the projector's subscriptions")
        assert_grants_match(client, PROJECTOR_NAME)
