"""Keys and values of the node's diagnostics that programs read.

Sentences for people are in `DiagnosticStatus.message`, and may be reworded at any time; these may not.
"""

from __future__ import annotations

NODE_NAME = "segmenter"

STATUS_NAME = f"{NODE_NAME}: segmentation"
"""The name of the node's own status, after its namespace and a slash; named cameras have one each besides."""

STATE = "state"
UNCONFIGURED = "unconfigured"
INACTIVE = "inactive"
WAITING = "waiting"
"""Active, but no output has a subscriber, so the node does not subscribe to the camera."""
SEGMENTING = "segmenting"
"""Active and subscribed to a camera."""
HANGING = "hanging"
"""A call of the engine does not return; the last status before the process ends."""

ENGINE = "engine"
DEVICE = "device"
PRECISION = "precision"
CLASSES = "classes"
NOTES = "notes"

CAMERAS = "cameras"
"""Names of the cameras, separated by commas; absent where the node has one camera without a name."""
SUBSCRIBED_CAMERAS = "subscribed_cameras"

IMAGE_TOPIC = "image_topic"
SUBSCRIBED = "subscribed"
FRAMES_PROCESSED = "frames_processed"
FRAMES_DROPPED = "frames_dropped"
FRAMES_REJECTED = "frames_rejected"
FRAME_COUNTS = (FRAMES_PROCESSED, FRAMES_DROPPED, FRAMES_REJECTED)
"""Since activation."""

PROJECTOR_NAME = "projector"
PROJECTING = "projecting"
"""The projector's clouds have a subscriber, and there is a depth camera."""
DEPTH_TOPIC = "depth_topic"
CLOUDS_PUBLISHED = "clouds_published"
FRAMES_UNMATCHED = "frames_unmatched"
"""Segmented frames without a depth of their stamp."""
