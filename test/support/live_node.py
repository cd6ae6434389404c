"""The real node as its own process, and a client that talks to it over real DDS."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

T = TypeVar("T")

NAMESPACE = "/segmentation"
DEADLINE_S = 60.0

_FIRST_DOMAIN = int(os.environ.get("ROS_DOMAIN_ID", os.getpid()))
_domains = itertools.count(_FIRST_DOMAIN)
_stamps_s = itertools.count(1001)


class Client(Node):
    """Publishes images, hears outputs, calls services; spun only while it waits, in the test's own thread."""

    def __init__(self, domain: int) -> None:
        # A context of its own: no test sees another's subscriptions.
        context = Context()
        rclpy.init(context=context, domain_id=domain)
        super().__init__("tester", context=context)
        self._spinner = SingleThreadedExecutor(context=context)
        self._spinner.add_node(self)
        self._services_of_node: dict[str, Any] = {}
        self.diagnostics: list[Any] = []
        self.create_subscription(DiagnosticArray, "/diagnostics", lambda m: self.diagnostics.extend(m.status), 10)

    def wait_for(self, condition: Callable[[], T], what: str, deadline_s: float = DEADLINE_S) -> T:
        """Spin until the condition holds and return its value; fail with `what` at the deadline."""
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            self._spinner.spin_once(timeout_sec=0.05)
        raise AssertionError(f"waited {deadline_s:.0f} s for {what}, which did not come")

    def spin_for(self, seconds: float) -> None:
        """Spin for a time: only to show that something does not happen."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._spinner.spin_once(timeout_sec=0.05)

    def listen(self, topic: str, message_type: Any, qos: Any = 10, raw: bool = False) -> list[Any]:
        """Subscribe to an output, or to any topic by its full name; the list grows as messages come."""
        received: list[Any] = []
        name = topic if topic.startswith("/") else f"{NAMESPACE}/{topic}"
        self.create_subscription(message_type, name, received.append, qos, raw=raw)
        return received

    def camera(self, topic: str = "/camera/image_raw", reliable: bool = True, message_type: Any = Image) -> Publisher:
        """Return a camera's publisher."""
        reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        return self.create_publisher(message_type, topic, QoSProfile(depth=1, reliability=reliability))

    def stamped(self, message: Any) -> Any:
        """Give a message a header of its own, which no other test has: a late answer of one must not serve another."""
        message.header.stamp.sec = next(_stamps_s)
        message.header.stamp.nanosec = 123456789
        message.header.frame_id = "camera_optical_frame"
        return message

    def send(self, camera: Publisher, message: Any, outputs: list[Any]) -> Any:
        """Publish until the node has subscribed and answered; return the output that carries this header."""
        self.stamped(message)
        self.wait_for(camera.get_subscription_count, "the node's subscription")

        def answer() -> Any:
            return next((output for output in outputs if output.header == message.header), None)

        for _ in range(20):
            camera.publish(message)
            end = time.monotonic() + 3
            while time.monotonic() < end:
                found = answer()
                if found is not None:
                    return found
                self._spinner.spin_once(timeout_sec=0.05)
        raise AssertionError("the node answered none of 20 frames")

    def call(self, service_type: Any, name: str, request: Any, tries: int = 6) -> Any:
        """Call one of the node's services, again every 10 s: an answer is lost where its reader is not yet known."""
        service = self._services_of_node.get(name)
        if service is None:
            service = self.create_client(service_type, f"{NAMESPACE}/segmenter/{name}")
            self._services_of_node[name] = service
        self.wait_for(service.service_is_ready, f"service {name}")
        for _ in range(tries):
            future = service.call_async(request)
            end = time.monotonic() + DEADLINE_S / tries
            while time.monotonic() < end:
                if future.done():
                    return future.result()
                self._spinner.spin_once(timeout_sec=0.05)
        raise AssertionError(f"the node answered none of {tries} calls of {name}")

    def state(self) -> str:
        """Return the lifecycle state's label."""
        return self.call(GetState, "get_state", GetState.Request()).current_state.label

    def reach(self, label: str) -> None:
        """Wait for a lifecycle state."""
        end = time.monotonic() + DEADLINE_S
        while self.state() != label:
            assert time.monotonic() < end, f"the node never became {label}; it is {self.state()}"
            self.spin_for(0.1)

    def begin(self, transition: int) -> Any:
        """Ask for a lifecycle transition and return the future, which gives the answer."""
        service = self.create_client(ChangeState, f"{NAMESPACE}/segmenter/change_state")
        self.wait_for(service.service_is_ready, "the node")
        return service.call_async(ChangeState.Request(transition=Transition(id=transition)))

    def change(self, transition: int) -> bool:
        """Ask for a lifecycle transition and return whether it succeeded."""
        # Once only: a transition that was made cannot be made again.
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.call(ChangeState, "change_state", request, tries=1).success

    def set(self, name: str, value: Any) -> Any:
        """Set a parameter and return the result (successful, reason)."""
        parameter: ParameterMessage = Parameter(name, value=value).to_parameter_msg()
        return self.call(SetParameters, "set_parameters", SetParameters.Request(parameters=[parameter])).results[0]

    def get(self, name: str) -> Any:
        """Return a parameter's value."""
        return self.call(GetParameters, "get_parameters", GetParameters.Request(names=[name])).values[0]

    def describe(self, name: str) -> Any:
        """Return a parameter's descriptor."""
        request = DescribeParameters.Request(names=[name])
        return self.call(DescribeParameters, "describe_parameters", request).descriptors[0]

    def diagnosis(self, condition: Callable[[Any], bool], what: str) -> Any:
        """Wait for a diagnostic status that satisfies the condition."""
        self.diagnostics.clear()
        return self.wait_for(lambda: next((status for status in self.diagnostics if condition(status)), None), what)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the network."""
        self._spinner.shutdown()
        self.destroy_node()
        self.context.shutdown()


def free_domain() -> int:
    """Return a domain for one test: nodes of the same name, and other runs on this machine, never meet."""
    # Above 101 ports may be taken.
    return 1 + next(_domains) % 101


def ros_arguments(parameters: Mapping[str, Any], remap: Mapping[str, str]) -> list[str]:
    """Return a node's arguments."""
    settings = [("-p", f"{name}:={_yaml(value)}") for name, value in parameters.items()]
    renamed = [("-r", f"{name}:={value}") for name, value in remap.items()]
    return ["--ros-args", *(part for pair in (*renamed, *settings) for part in pair)]


class NodeProcess:
    """The node's process and what it wrote; as a context, shows its log where the test fails."""

    def __init__(
        self,
        parameters: Mapping[str, Any],
        remap: Mapping[str, str],
        environment: Mapping[str, str],
        module: str,
    ) -> None:
        self._start([sys.executable, "-m", module, *ros_arguments(parameters, remap)], environment)

    def _start(self, command: list[str], environment: Mapping[str, str]) -> None:
        self.domain = free_domain()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the process)
        inherited = {name: value for name, value in os.environ.items() if name != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
        local = {"ROS_DOMAIN_ID": str(self.domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        self.process = subprocess.Popen(
            command, stdout=self._output, stderr=subprocess.STDOUT, env={**inherited, **local, **environment}
        )

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        if kind is not None:
            print(self.log())
        self.stop()

    def log(self) -> str:
        """Return everything that the node has written so far."""
        self._output.seek(0)
        return self._output.read().decode()

    def stop(self) -> int:
        """Interrupt the node as a terminal does and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the node did not stop within 20 s of SIGINT:\n{self.log()}") from None


def running_node(
    parameters: Mapping[str, Any] | None = None,
    remap: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    module: str = "erfnet_ros.ros.node",
) -> NodeProcess:
    """Start the node."""
    return NodeProcess(parameters or {}, remap or {"image": "/camera/image_raw"}, environment or {}, module)


def client_of(process: NodeProcess) -> Client:
    """A client in the node's domain."""
    return Client(process.domain)


def image_message(rgb: np.ndarray, encoding: str = "rgb8") -> Image:
    """Lay out (H, W, 3) RGB pixels, or (H, W, bytes) of any other encoding."""
    height, width = rgb.shape[:2]
    message = Image(height=height, width=width, encoding=encoding, step=rgb.strides[0])
    message.data = array("B", np.ascontiguousarray(rgb).tobytes())
    message.step = len(message.data) // height
    return message


def compressed_message(encoded: bytes) -> CompressedImage:
    """Wrap an encoded picture."""
    return CompressedImage(format="rgb8; jpeg compressed bgr8", data=array("B", encoded))


def pixels_of(message: Image) -> np.ndarray:
    """Read an output image."""
    data = np.frombuffer(message.data, np.uint8)
    return data.reshape(message.height, message.width, *([3] if message.encoding == "rgb8" else []))


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else str(value)
