"""Entry point of the projector node's process."""

from __future__ import annotations

from erfnet_ros.ros.diagnostic_keys import PROJECTOR_NAME
from erfnet_ros.ros.node.process import StopSignals


def main() -> None:
    """Run the node until it is interrupted."""
    signals = StopSignals(PROJECTOR_NAME)

    # Imported here, since these take a second, in which a signal may come.
    import cv2
    from rclpy.executors import SingleThreadedExecutor

    from erfnet_ros.ros.points.projector_node import ProjectorNode

    # The other cores are the segmenter's.
    cv2.setNumThreads(1)
    signals.run(ProjectorNode, SingleThreadedExecutor)


if __name__ == "__main__":
    main()
