"""Entry point of the segmenter node's process, and its end on SIGINT and SIGTERM."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time

_PATIENCE_S = 2.0
"""How long a signaled process waits for callbacks in progress; a frame takes less, the build of an engine more."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Ends the process on SIGINT and SIGTERM with exit code 0: at once, or within `_PATIENCE_S` if it is `running`.

    A thread waits for the signals, because Python runs a handler only when the main thread returns from C code. Files
    of the build cache are renamed when they are complete, so the process may end at any moment.

    Attributes:
        running: Whether the main thread watches `received`, and ends by itself.
        received: Set by the first signal; later ones do nothing.
    """

    def __init__(self) -> None:
        self.running = False
        self.received = threading.Event()
        read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda number, frame: None)
        threading.Thread(target=self._wait, args=(read_end,), name="signals", daemon=True).start()

    def _wait(self, read_end: int) -> None:
        number = os.read(read_end, 1)[0]
        self.received.set()
        os.write(sys.stderr.fileno(), f"[segmenter] Stopping on {signal.Signals(number).name}.\n".encode())
        if self.running:
            time.sleep(_PATIENCE_S)
        os._exit(0)


def main() -> None:
    """Run the node until it is interrupted."""
    signals = StopSignals()

    # Imported here, since these take seconds, in which a signal may come.
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from erfnet_ros.ros.node.segmenter_node import SegmenterNode
    from erfnet_ros.ros.rclpy_compat import NodeExecutor
    from erfnet_ros.ros.transport import keep_large_blocks

    keep_large_blocks()
    try:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:
        raise SystemExit(f"[segmenter] Expected valid ROS arguments, got: {error}") from None
    node = SegmenterNode()
    # Each of its callback groups keeps one thread busy at most.
    executor = NodeExecutor(num_threads=5)
    executor.add_node(node)
    signals.running = True
    try:
        while not signals.received.is_set():
            executor.spin_once()
    finally:
        # The context outlives the callbacks in progress, which publish.
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
    # The interpreter's own end aborts where a thread builds a TensorRT engine, whose progress callbacks take its lock.
    atexit._run_exitfuncs()
    os._exit(0)


if __name__ == "__main__":
    main()
