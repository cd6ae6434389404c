"""Recording of segmented frames for the Rerun viewer: images, masks, and plots on one timeline."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from types import TracebackType

import cv2
import numpy as np
import rerun as rr
import rerun.blueprint as rrb

from erfnet_ros.core.array_types import VOID, Pixels
from erfnet_ros.core.class_set import ClassSet
from erfnet_ros.core.errors import OutputError

_APPLICATION = "erfnet_ros"
_JPEG_QUALITY = 90
_MASK_OPACITY = 0.5
_WRONG = 1
_MEMORY_LIMIT = "1GiB"
"""What the server keeps for browsers; then the oldest frames go."""


class RerunRecording:
    """Frames of one camera under `camera/`, statistics under `latency/` and `shares/`.

    Every `log_...` call belongs to the moment that the last `set_frame` gave. Images are stored as JPEG, masks without
    loss.

    Args:
        class_set: Names and colors of the ids in the masks.
        with_ground_truth: Whether `log_ground_truth` will be called: it gets a view of its own.
    """

    def __init__(self, class_set: ClassSet, *, with_ground_truth: bool) -> None:
        self._class_set = class_set
        self._stream = rr.RecordingStream(_APPLICATION)
        self._blueprint = _blueprint(with_ground_truth)

    def __enter__(self) -> RerunRecording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stream.flush()
        self._stream.disconnect()

    def save(self, path: str) -> None:
        """Write everything that is logged from now on into a .rrd file.

        Raises:
            OutputError: The file cannot be written.
        """
        try:
            self._stream.save(path, default_blueprint=self._blueprint)
        except Exception as error:  # Rerun's own errors have no common class.
            raise OutputError(f"Cannot write '{path}': {error}; choose another file with --out.") from error
        self._log_static()

    def serve(self, port: int) -> str:
        """Serve everything that is logged from now on to browsers; return the page's address.

        Rerun listens on all interfaces of the machine.

        Args:
            port: Of the page; the data come from the next one.

        Raises:
            OutputError: A port is in use.
        """
        for number in (port, port + 1):
            _check_free(number)
        data = self._stream.serve_grpc(
            grpc_port=port + 1, default_blueprint=self._blueprint, server_memory_limit=_MEMORY_LIMIT
        )
        rr.serve_web_viewer(web_port=port, open_browser=False)
        self._log_static()
        return f"http://localhost:{port}/?url={data.replace('127.0.0.1', 'localhost')}"

    def set_frame(self, *, stamp_ns: int | None, index: int | None = None) -> None:
        """Say which frame is logged next: its stamp (ns since 1970) or its number in the source, or both."""
        if stamp_ns is not None:
            self._stream.set_time("stamp", timestamp=np.datetime64(stamp_ns, "ns"))
        if index is not None:
            self._stream.set_time("frame", sequence=index)

    def log_image(self, rgb: Pixels) -> None:
        """Log the camera's image, (H, W, 3) uint8 RGB."""
        self._log_jpeg("camera/image", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR).astype(np.uint8, copy=False))

    def log_mask(self, mask: Pixels) -> None:
        """Log class ids, (H, W) uint8, void 255, drawn over the image."""
        self._stream.log("camera/mask", rr.SegmentationImage(mask, opacity=_MASK_OPACITY))

    def log_confidence(self, confidence: Pixels) -> None:
        """Log the confidence, (H, W) uint8, 0..255 for 0..1."""
        self._log_jpeg("confidence", confidence)

    def log_ground_truth(self, ground_truth: Pixels, mask: Pixels) -> None:
        """Log the ground truth, (H, W) uint8, void 255, and where and how often the mask differs from it."""
        known = ground_truth != VOID
        wrong = (mask != ground_truth) & known
        self._stream.log("ground_truth/labels", rr.SegmentationImage(ground_truth))
        self._stream.log("errors", rr.SegmentationImage(wrong.astype(np.uint8) * _WRONG))
        if known.any():
            self._stream.log("accuracy/pixels", rr.Scalars(1 - wrong.sum() / known.sum()))

    def log_latencies(self, latencies_ms: Mapping[str, float]) -> None:
        """Log durations in milliseconds by name; what is not finite is left out."""
        for name, latency_ms in latencies_ms.items():
            if np.isfinite(latency_ms):
                self._stream.log(f"latency/{name}", rr.Scalars(latency_ms))

    def log_shares(self, shares: Mapping[str, float]) -> None:
        """Log each class's share of the image's pixels, 0..1, by class name."""
        for name, share in shares.items():
            self._stream.log(["shares", name], rr.Scalars(share))

    def log_fault(self, text: str) -> None:
        """Log why a frame could not be segmented."""
        self._stream.log("faults", rr.TextLog(text, level=rr.TextLogLevel.ERROR))

    def _log_jpeg(self, entity: str, pixels: Pixels) -> None:
        jpeg = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))[1]
        self._stream.log(entity, rr.EncodedImage(contents=jpeg.tobytes(), media_type="image/jpeg"))

    def _log_static(self) -> None:
        """Log names and colors, which hold at every time."""
        pairs = list(zip(self._class_set.names, self._class_set.colors, strict=True))
        names = [rr.AnnotationInfo(id=number, label=name, color=color) for number, (name, color) in enumerate(pairs)]
        void = rr.AnnotationInfo(id=VOID, label="void", color=(0, 0, 0))
        self._stream.log("/", rr.AnnotationContext([*names, void]), static=True)
        right, wrong = (
            rr.AnnotationInfo(id=0, label="right", color=(30, 30, 30)),
            rr.AnnotationInfo(id=_WRONG, label="wrong", color=(230, 60, 40)),
        )
        self._stream.log("errors", rr.AnnotationContext([right, wrong]), static=True)
        for name, color in pairs:
            self._stream.log(["shares", name], rr.SeriesLines(colors=color, names=name), static=True)


def _check_free(port: int) -> None:
    """Refuse a port in use: Rerun only logs it, and then waits for ever."""
    try:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("", port))
    except OSError as error:
        raise OutputError(f"Cannot serve on port {port}: {error.strerror}; choose another with --port.") from error


def _blueprint(with_ground_truth: bool) -> rrb.Blueprint:
    """Return the layout: pictures above, plots below."""
    pictures = [
        rrb.Spatial2DView(origin="camera", name="image and mask"),
        rrb.Spatial2DView(origin="confidence", name="confidence"),
    ]
    plots = [
        rrb.TimeSeriesView(origin="latency", name="latency, ms"),
        rrb.TimeSeriesView(origin="shares", name="class shares"),
    ]
    if with_ground_truth:
        pictures += [
            rrb.Spatial2DView(origin="ground_truth", name="ground truth"),
            rrb.Spatial2DView(origin="errors", name="wrong pixels"),
        ]
        plots.append(rrb.TimeSeriesView(origin="accuracy", name="share of right pixels"))
    return rrb.Blueprint(
        rrb.Vertical(rrb.Grid(*pictures, grid_columns=2), rrb.Horizontal(*plots), row_shares=[3, 1]),
        collapse_panels=True,
    )
