"""Entry point of the projector node's process."""

from __future__ import annotations

import cv2
import rclpy
from rclpy.executors import ExternalShutdownException

from erfnet_ros.ros.points.projector_node import ProjectorNode
from erfnet_ros.ros.transport import keep_large_blocks


def main() -> None:
    """Run the node until it is interrupted."""
    keep_large_blocks()
    # The other cores are the segmenter's.
    cv2.setNumThreads(1)
    rclpy.init()
    node = ProjectorNode()
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
