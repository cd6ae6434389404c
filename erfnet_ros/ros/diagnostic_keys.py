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
UNUSABLE = (UNCONFIGURED, HANGING)
"""The states in which no image is answered, whatever arrives."""

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
"""Since activation, or the last `~/reset_statistics`."""

PREPROCESS_MS, INFERENCE_MS, POSTPROCESS_MS = "preprocess_ms", "inference_ms", "postprocess_ms"
"""Of the newest segmented frame: message to array, the engine, and outputs with publishing; nan before the first."""
STAMP_AGE_S = "stamp_age_s"
"""From the newest image's stamp to its arrival; nan where clock or stamp have no time, or none has arrived."""
LAST_IMAGE_S = "last_image_s"
"""Since the newest image arrived; nan before the first."""
CAMERA_RATE_HZ, SEGMENTED_RATE_HZ = "camera_rate_hz", "segmented_rate_hz"
"""Images that the camera sent, as far as they are numbered, and that were segmented, over the last 5 s."""
REPLACED_PERCENT, LOST_PERCENT = "replaced_percent", "lost_percent"
"""Of the camera's images of the last 5 s: replaced by newer ones while the node was busy, and lost on the way."""
MEAN_CONFIDENCE = "mean_confidence"
"""Of the last frames, 0..1; nan before the first."""
MEMORY_MB = "memory_mb"
"""Resident memory of the node's process, 10^6 bytes."""
GPU_FREE_MB = "gpu_free_mb"
"""Free memory of the network's GPU, 10^6 bytes; absent on a CPU."""

NO_PUBLISHER = "no_publisher"
WRONG_TYPE = "wrong_type"
SILENCE = "silence"
LOSS = "loss"
REJECTED = "rejected"
ZERO_STAMPS = "zero_stamps"
STAMP_AGE = "stamp_age"
STAMP_JUMPS = "stamp_jumps"
SLOW = "slow"
LOW_CONFIDENCE = "low_confidence"
INCOMPATIBLE_SUBSCRIBER = "incompatible_subscriber"
ENGINE_FALLBACK = "engine_fallback"
MEMORY_GROWTH = "memory_growth"
GPU_MEMORY = "gpu_memory"
"""Conditions: each has a status of its own, NODE: segmentation: CONDITION or NODE: camera NAME: CONDITION."""

PROJECTOR_NAME = "projector"
PROJECTING = "projecting"
"""The projector's clouds have a subscriber, and there is a depth camera."""
DEPTH_TOPIC = "depth_topic"
CLOUDS_PUBLISHED = "clouds_published"
FRAMES_UNMATCHED = "frames_unmatched"
"""Segmented frames without a depth of their stamp."""
