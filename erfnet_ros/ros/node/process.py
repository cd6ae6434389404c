"""Process of a node: its executor, and its end on SIGINT and SIGTERM."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rclpy.executors import Executor
    from rclpy.node import Node

_PATIENCE_S = 2.0
"""How long a signaled process waits for callbacks in progress; a frame takes less, the build of an engine more."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Ends the process on SIGINT and SIGTERM with exit code 0: at once, or within `_PATIENCE_S` if it is `running`.

    A thread waits for the signals, because Python runs a handler only when the main thread returns from C code. Files
    of the build cache are renamed when they are complete, so the process may end at any moment.

    Args:
        name: The node's, for the log.

    Attributes:
        running: Whether the main thread watches `received`, and ends by itself.
        received: Set by the first signal; later ones do nothing.
    """

    def __init__(self, name: str) -> None:
        self._name = name
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
        os.write(sys.stderr.fileno(), f"[{self._name}] Stopping on {signal.Signals(number).name}.\n".encode())
        if self.running:
            from erfnet_ros.ros.transport import remove_own_segments

            time.sleep(_PATIENCE_S)
            remove_own_segments()
        os._exit(0)

    def run(self, make_node: Callable[[], Node], make_executor: Callable[[], Executor]) -> None:
        """Initialize rclpy, run the node until a signal comes, and end the process."""
        # Imported here, so that a signal during this import ends the process as well.
        import rclpy
        from rclpy.signals import SignalHandlerOptions

        from erfnet_ros.ros.transport import keep_large_blocks

        keep_large_blocks()
        try:
            rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        except RuntimeError as error:
            raise SystemExit(f"[{self._name}] Expected valid ROS arguments, got: {error}") from None
        node, executor = make_node(), make_executor()
        executor.add_node(node)
        self.running = True
        try:
            while not self.received.is_set():
                executor.spin_once()
        finally:
            # The context outlives the callbacks in progress, which publish.
            executor.shutdown()
            node.destroy_node()
            rclpy.try_shutdown()
        # Only without any reference does the middleware remove its shared memory, 64 MB with the package's profile.
        del node, executor
        gc.collect()
        # The interpreter's own end aborts where a thread builds a TensorRT engine, whose progress callbacks take its
        # lock.
        atexit._run_exitfuncs()
        os._exit(0)
