"""Selection of a bag's image and ground-truth topics, and refusal where several fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.errors import ErfnetError, EvaluationError
from erfnet_ros.data.bags import messages
from erfnet_ros.data.bags.message_types import COMPRESSED_IMAGE, IMAGE, LABEL_INFO
from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.data.bags.writer import BagWriter
from erfnet_ros.evaluation.inputs.topic_selection import find_topics

HEADER = messages.header(5, "camera")
COLOR, MONO = np.zeros((12, 16, 3), np.uint8), np.zeros((12, 16), np.uint8)


def found(folder: Path, *topics: str, **wanted: str) -> tuple[str, str | None]:
    """Return what is found in a bag of these topics, each written as NAME, NAME:mono, NAME:jpeg or NAME:info."""
    with BagWriter(folder / "bag") as writer:
        for topic in topics:
            name, _, kind = topic.partition(":")
            message, type = {
                "": (messages.image(COLOR, "rgb8", HEADER), IMAGE),
                "mono": (messages.image(MONO, "mono8", HEADER), IMAGE),
                "jpeg": (messages.compressed_image(COLOR, "jpeg", HEADER), COMPRESSED_IMAGE),
                "info": (messages.label_info(CAMVID, HEADER), LABEL_INFO),
            }[kind]
            writer.add(name, type)
            writer.write(name, 5, message)
    with BagReader(folder / "bag") as reader:
        topics_found = find_topics(reader, image=wanted.get("image"), ground_truth=wanted.get("ground_truth"))
    return topics_found.image.name, topics_found.ground_truth.name if topics_found.ground_truth else None


OUTPUTS = ("/segmentation/mask:mono", "/segmentation/overlay", "/segmentation/label_info:info")


@pytest.mark.parametrize(
    ("topics", "wanted", "expected"),
    [
        (("/front/image_raw",), {}, ("/front/image_raw", None)),
        (("/camera/image_raw", "/labels/preview"), {}, ("/camera/image_raw", None)),
        (("/camera/image_raw:jpeg", *OUTPUTS), {}, ("/camera/image_raw", None)),
        (("/left", "/right", "/truth:mono"), {"image": "/right"}, ("/right", "/truth")),
        (("/left", "/ids:mono"), {"ground_truth": "/ids"}, ("/left", "/ids")),
        *(
            (("/camera/image_raw", f"{ground_truth}:mono"), {}, ("/camera/image_raw", ground_truth))
            for ground_truth in ("/camera/truth", "/ground_truth/image", "/labels", "/gt", "/x/gt_mask")
        ),
    ],
)
def test_camera_and_ground_truth_are_found_where_only_one_fits(
    tmp_path: Path, topics: tuple[str, ...], wanted: dict[str, str], expected: tuple[str, str | None]
) -> None:
    """Ground truth is called so and holds ids; masks of the day, which a robot's bag often holds, are neither."""
    assert found(tmp_path, *topics, **wanted) == expected


@pytest.mark.parametrize(
    ("topics", "listed"),
    [
        (
            ("/camera/ffmpeg:info", "/camera/truth:mono"),
            r"/camera/ffmpeg \(vision_msgs/msg/LabelInfo\), /camera/truth \(ground truth\); name one",
        ),
        (("/camera/ffmpeg:info", "/labels/preview"), r"/labels/preview \(ground truth\)"),
        (
            ("/segmentation/mask:mono", "/segmentation/label_info:info"),
            r"/segmentation/mask \(output of a seg",
        ),
        (("/a/mask:mono", "/a/overlay/compressed:jpeg"), r"/a/mask \(output .*\), /a/overlay/compressed \(output"),
        ((), "no topic at all"),
    ],
)
def test_ground_truth_and_masks_are_never_taken_as_the_camera(
    tmp_path: Path, topics: tuple[str, ...], listed: str
) -> None:
    """A bag without a readable camera would be scored on its own labels: perfect numbers that mean nothing."""
    with pytest.raises(EvaluationError, match=f"Expected a topic of camera images in .*, got .*{listed}"):
        found(tmp_path, *topics)
    if topics:
        name = topics[-1].partition(":")[0] if "info" not in topics[-1] else topics[0].partition(":")[0]
        assert found(tmp_path / "named", *topics, image=name)[0] == name


@pytest.mark.parametrize(
    ("topics", "wanted", "words"),
    [
        (("/left", "/right"), {}, "got 2: /left, /right; choose one with --image-topic"),
        (("/left", "/a/truth:mono", "/b/truth:mono"), {}, "/a/truth, /b/truth; choose one with --ground-truth-topic"),
        (
            ("/left", "/camera/truth:mono"),
            {"ground_truth": "/camera/truht"},
            "'/camera/truht'.*did you mean '/camera/truth'",
        ),
    ],
)
def test_a_choice_is_left_to_the_user(
    tmp_path: Path, topics: tuple[str, ...], wanted: dict[str, str], words: str
) -> None:
    with pytest.raises(ErfnetError, match=words):
        found(tmp_path, *topics, **wanted)
