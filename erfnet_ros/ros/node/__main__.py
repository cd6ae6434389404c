"""Entry point of the segmenter node's process."""

from __future__ import annotations

from erfnet_ros.core.system_info import share_cores
from erfnet_ros.ros.diagnostic_keys import NODE_NAME
from erfnet_ros.ros.node.process import StopSignals


def main() -> None:
    """Run the node until it is interrupted."""
    signals = StopSignals(NODE_NAME)
    share_cores()

    # Imported here, since these take seconds, in which a signal may come.
    from erfnet_ros.ros.node.segmenter_node import SegmenterNode
    from erfnet_ros.ros.rclpy_compat import NodeExecutor

    # Each of its callback groups keeps one thread busy at most.
    signals.run(SegmenterNode, lambda: NodeExecutor(num_threads=5))


if __name__ == "__main__":
    main()
