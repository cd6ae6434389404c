"""One camera of the node: where its images come from, where the results go, and what became of its frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.lifecycle import LifecycleNodeMixin

from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import ErfnetError
from erfnet_ros.ros.node.image_subscription import CameraInput
from erfnet_ros.ros.node.publishers import Outputs

_COMPLAINT_PERIOD_S = 5.0
"""How often the same bad input is logged; the diagnostics show it for twice as long."""


class NodeCamera:
    """A camera's input, outputs and counts; a bad frame is counted and reported.

    Args:
        node: Whose topics, and whose remappings.
        name: Comes before the names of its topics, as in front/mask; "" for a node's only camera.
        class_set: Names and colors of the labels.
        transport: raw or compressed.
        group: Callback group that images have to themselves.
        on_image: Called with this camera and every image message that the executor takes.

    Attributes:
        processed: Frames segmented and published since `begin`.
        rejected: Frames of bad input since `begin`.
    """

    def __init__(
        self,
        node: LifecycleNodeMixin,
        name: str,
        class_set: ClassSet,
        transport: str,
        group: CallbackGroup,
        on_image: Callable[[NodeCamera, Any], None],
    ) -> None:
        self.name = name
        prefix = f"{name}/" if name else ""
        self.outputs = Outputs(node, class_set, prefix)
        self.input = CameraInput(node, prefix, transport, group, partial(on_image, self))
        self._logger = node.get_logger()
        self._complaint, self._complaint_s = "", float("-inf")
        self.begin()

    def begin(self) -> None:
        """Count from zero."""
        self.processed, self.rejected, self._throttled = 0, 0, 0
        self.input.dropped = 0
        self._next_frame_s = 0.0

    @property
    def dropped(self) -> int:
        """Frames never taken since `begin`: a newer one came first, or `max_rate` forbade it."""
        return self.input.dropped + self._throttled

    @property
    def complaint(self) -> str | None:
        """What was wrong with a frame lately, or None."""
        return self._complaint if time.monotonic() - self._complaint_s < 2 * _COMPLAINT_PERIOD_S else None

    def update(self) -> None:
        """Subscribe while somebody reads an output; call it now and then."""
        wanted = self.outputs.wanted()
        self.input.update(bool(wanted), "camera_info" in wanted)

    def due(self, now_s: float, max_rate: float) -> bool:
        """Tell whether a frame that comes now is within `max_rate` (Hz; 0 is no limit), and count it where not."""
        if max_rate <= 0:
            return True
        if now_s < self._next_frame_s:
            self._throttled += 1
            return False
        # Counted on from the planned time, so that the mean rate is kept although frames do not come exactly then.
        self._next_frame_s = max(self._next_frame_s + 1 / max_rate, now_s)
        return True

    @contextmanager
    def rejecting(self) -> Iterator[None]:
        """Count and report whatever goes wrong inside as a rejected frame: the next one is served."""
        try:
            yield
        except ErfnetError as error:
            self._reject(str(error))
        except Exception as error:
            # An unexpected error is shown with its type.
            self._reject(f"Frame dropped by an internal error, {type(error).__name__}: {error}; please report it.")

    def _reject(self, reason: str) -> None:
        self.rejected += 1
        now = time.monotonic()
        if reason != self._complaint or now - self._complaint_s >= _COMPLAINT_PERIOD_S:
            whose = f" of {self.name}" if self.name else ""
            self._logger.error(f"Frame{whose} rejected ({self.rejected} so far): {reason}")
            self._complaint_s = now
        self._complaint = reason
