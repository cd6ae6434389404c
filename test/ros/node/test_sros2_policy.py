"""The example policy for SROS 2 grants what the running node uses: less would silence a topic, more is a hole."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("erfnet_ros.msg", reason="needs the built workspace (make build)")

from sensor_msgs.msg import CameraInfo
from support.live_node import NAMESPACE, client_of, running_node

from erfnet_ros.ros.diagnostic_keys import NODE_NAME

CAMERA = {"image": "/camera/image_raw"}
POLICY = Path(__file__).parents[3] / "config" / "sros2" / "segmenter.policy.xml"
LEFT_OUT_WHERE_NOT_INSTALLED = {f"{NAMESPACE}/label_info", f"{NAMESPACE}/{NODE_NAME}/get_type_description"}
"""vision_msgs is optional, and Humble has no service for type descriptions."""


def granted(kind: str, action: str) -> set[str]:
    """Return the full names that the policy allows for an action such as publish."""
    (profile,) = ElementTree.parse(POLICY).iter("profile")
    assert (profile.get("ns"), profile.get("node")) == (NAMESPACE, NODE_NAME)
    entries = {entry.text or "" for group in profile.iter(kind) if group.get(action) == "ALLOW" for entry in group}
    prefixes = {"/": "", "~": f"{NAMESPACE}/{NODE_NAME}"}
    return {prefixes.get(name[0], f"{NAMESPACE}/") + name.removeprefix("~") for name in entries}


def test_the_policy_grants_what_the_node_uses_and_no_more() -> None:
    with running_node(remap=CAMERA) as process, client_of(process) as client:
        client.reach("active")
        client.listen("camera_info", CameraInfo)
        client.wait_for(lambda: client.count_subscribers("/camera/camera_info"), "the node's subscription")

        def names(kind: str) -> set[str]:
            return {name for name, _ in getattr(client, f"get_{kind}_names_and_types_by_node")(NODE_NAME, NAMESPACE)}

        assert granted("topics", "publish") - LEFT_OUT_WHERE_NOT_INSTALLED <= names("publisher")
        assert names("publisher") <= granted("topics", "publish")
        assert names("subscriber") | {"/clock"} == granted("topics", "subscribe")
        assert granted("services", "reply") - LEFT_OUT_WHERE_NOT_INSTALLED <= names("service")
        assert names("service") <= granted("services", "reply")
