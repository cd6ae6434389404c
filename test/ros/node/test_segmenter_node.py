"""Lifecycle of the segmenter node, as a lifecycle manager drives it."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

import rclpy
from lifecycle_msgs.msg import Transition
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from support.live_node import client_of, free_domain, image_message, pixels_of, running_node

from erfnet_ros.ros.node.parameters import PARAMETERS
from erfnet_ros.ros.node.segmenter_node import SegmenterNode
from erfnet_ros.ros.transport import profile_variable

RGB = np.full((64, 96, 3), 90, np.uint8)


def test_the_whole_life_of_a_managed_node() -> None:
    with running_node({"autostart": False}) as node, client_of(node) as client:
        assert client.state() == "unconfigured"
        camera, masks = client.camera(), client.listen("mask", Image)
        assert client.change(Transition.TRANSITION_CONFIGURE)
        assert client.state() == "inactive"
        assert camera.get_subscription_count() == 0
        assert client.change(Transition.TRANSITION_ACTIVATE)
        client.send(camera, image_message(RGB), masks)

        assert client.change(Transition.TRANSITION_DEACTIVATE)
        client.wait_for(lambda: camera.get_subscription_count() == 0, "the node to unsubscribe")

        assert client.change(Transition.TRANSITION_ACTIVATE)
        client.send(camera, image_message(RGB), masks)

        result = client.set("precision", "fp32")
        assert not result.successful
        assert "'precision' is fixed while the node is configured" in result.reason
        assert client.change(Transition.TRANSITION_DEACTIVATE)
        assert client.change(Transition.TRANSITION_CLEANUP)
        assert client.set("precision", "fp32").successful
        assert client.change(Transition.TRANSITION_CONFIGURE)
        assert client.change(Transition.TRANSITION_ACTIVATE)
        client.send(camera, image_message(RGB), masks)
        status = client.diagnosis(lambda s: True, "diagnostics")
        assert {entry.key: entry.value for entry in status.values}["precision"] == "fp32"

        assert client.change(Transition.TRANSITION_ACTIVE_SHUTDOWN)
        assert client.state() == "finalized"
        assert node.stop() == 0


def test_while_configuring_the_node_answers_and_lets_nothing_change_that_is_being_read(tmp_path: Path) -> None:
    """With an empty cache the engines are measured first, for seconds."""
    settings = {"autostart": False, "device": "cpu", "max_rate": 7}
    cold = {"ERFNET_ROS_CACHE": str(tmp_path)}
    with running_node(settings, environment=cold) as node, client_of(node) as client:
        configured = client.begin(Transition.TRANSITION_CONFIGURE)
        client.wait_for(lambda: client.state() == "configuring", "an answer in between")
        result = client.set("precision", "fp32")
        assert not result.successful
        assert "'precision' is fixed while the node is configured, or being configured" in result.reason
        assert client.set("overlay_alpha", 1).successful
        assert not configured.done()
        client.wait_for(configured.done, "the transition")
        # Whole numbers at start and later, stored as what the descriptor says.
        for name, value in (("max_rate", 7.0), ("overlay_alpha", 1.0)):
            stored = client.get(name)
            assert (stored.type, stored.double_value) == (client.describe(name).type, value) == (3, value)
        assert client.change(Transition.TRANSITION_ACTIVATE)
        overlay = client.send(client.camera(), image_message(RGB), client.listen("overlay", Image))
        assert not np.array_equal(pixels_of(overlay), RGB)


def test_repeated_transitions_and_destruction_free_everything() -> None:
    """A lifecycle manager may reload a node every day: publishers and engines must not pile up."""
    rclpy.init(domain_id=free_domain())
    node = SegmenterNode(parameter_overrides=[Parameter("autostart", value=False), Parameter("device", value="cpu")])
    before = len(node._managed_entities), len(list(node.publishers))
    for _ in range(2):
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        assert len(list(node.publishers)) > before[1]
        assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
        assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
        assert (len(node._managed_entities), len(list(node.publishers))) == before
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    engine = weakref.ref(node._resources.segmenter.engine)
    rclpy.shutdown()
    node.destroy_node()
    gc.collect()
    assert engine() is None


def test_a_bad_ros_argument_is_refused_in_one_line() -> None:
    with running_node(remap={"image": "/no topic"}) as node:
        assert node.process.wait(timeout=60) == 1
        assert "Expected valid ROS arguments, got: " in node.log()
        assert "Traceback" not in node.log()


def test_parameters_describe_themselves() -> None:
    """What `ros2 param describe` shows: words, ranges, choices, and what cannot be set."""
    with running_node({"autostart": False}) as node, client_of(node) as client:
        for parameter in PARAMETERS:
            descriptor = client.describe(parameter.name)
            assert descriptor.description == parameter.description
            assert descriptor.read_only == (parameter.may_change == "at start")
            for choice in parameter.choices:
                assert choice in descriptor.additional_constraints
            if parameter.type_name == "double":
                assert descriptor.floating_point_range[0].to_value == parameter.maximum
            if parameter.type_name == "integer":
                assert descriptor.integer_range[0].to_value == parameter.maximum
        assert not client.set("autostart", True).successful


def test_remapping_and_namespace_are_those_of_the_command_line() -> None:
    with running_node(remap={"image": "/front/image", "__ns": "/front_view"}) as node, client_of(node) as client:
        camera, masks = client.camera("/front/image"), client.listen("/front_view/mask", Image)
        client.send(camera, image_message(RGB), masks)


def test_the_missing_large_image_transport_is_told_once() -> None:
    """Without it nearly all full-HD images are silently dropped."""
    with running_node(environment={profile_variable(): ""}) as node, client_of(node) as client:
        client.reach("active")
        status = client.diagnosis(lambda s: profile_variable() in s.message, "a warning of the transport")
        assert status.level == b"\x01"
        assert node.log().count("Fast DDS runs with its default shared memory") == 1
