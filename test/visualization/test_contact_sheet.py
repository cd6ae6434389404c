"""Contact sheet, strip, PNG and video of segmented images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.errors import ImageError
from erfnet_ros.visualization.contact_sheet import (
    PANEL_WIDTH,
    Sample,
    VideoWriter,
    contact_sheet,
    labeled_strip,
    write_png,
)

ROAD, CAR = CAMVID.names.index("road"), CAMVID.names.index("car")


def sample(with_ground_truth: bool = True, width: int = 48, height: int = 36) -> Sample:
    labels = np.full((height, width), ROAD, np.uint8)
    labels[:, width // 2 :] = CAR
    rgb = np.full((height, width, 3), 77, np.uint8)
    return Sample("frame 1", rgb, np.full_like(labels, ROAD) if with_ground_truth else None, labels, rgb)


def colors(picture: Pixels) -> set[tuple[int, ...]]:
    return set(map(tuple, np.unique(picture.reshape(-1, 3), axis=0).tolist()))


def test_strip_shows_image_ground_truth_mask_and_overlay_in_this_order() -> None:
    strip = labeled_strip(sample(), CAMVID)
    middle = strip[-20]
    panels = [middle[start : start + PANEL_WIDTH] for start in range(0, strip.shape[1], strip.shape[1] // 4 + 1)]
    assert (panels[0][10] == 77).all()
    assert tuple(panels[1][PANEL_WIDTH - 60]) == CAMVID.colors[ROAD]
    assert tuple(panels[2][PANEL_WIDTH - 60]) == CAMVID.colors[CAR]
    assert (panels[3][10] == 77).all()


def test_strip_leaves_the_ground_truth_out_where_it_is_not_known() -> None:
    assert labeled_strip(sample(with_ground_truth=False), CAMVID).shape[1] < labeled_strip(sample(), CAMVID).shape[1]


def test_class_colors_are_never_mixed_when_a_mask_is_resized() -> None:
    """A blended border would show a class that is not there."""
    strip = labeled_strip(sample(width=51, height=37), CAMVID)
    mask = strip[40:, 2 * (PANEL_WIDTH + 10) : 2 * (PANEL_WIDTH + 10) + PANEL_WIDTH]
    assert colors(mask) == {CAMVID.colors[ROAD], CAMVID.colors[CAR]}


def test_contact_sheet_has_a_row_per_frame_and_every_class_color_in_the_legend() -> None:
    one, three = (contact_sheet([sample()] * count, CAMVID, title="title", subtitle="subtitle") for count in (1, 3))
    assert three.shape[0] - one.shape[0] == 2 * (labeled_strip(sample(), CAMVID).shape[0] + 10)
    assert set(CAMVID.colors) <= colors(three[-100:])


def test_contact_sheet_of_nothing_is_refused() -> None:
    with pytest.raises(ImageError, match="at least one frame"):
        contact_sheet([], CAMVID, title="title")


def test_png_keeps_every_pixel_in_rgb_order(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    write_png(tmp_path / "picture.png", rgb)
    read = cv2.imread(str(tmp_path / "picture.png"))
    assert read is not None
    assert np.array_equal(read[..., ::-1], rgb)


def test_video_plays_all_frames_at_the_rate_whatever_their_sizes(tmp_path: Path) -> None:
    """A folder of photographs has images of several sizes, and odd ones."""
    with VideoWriter(tmp_path / "video.mp4", 15) as video:
        for width, height in ((65, 49), (65, 49), (200, 20)):
            video.write(np.full((height, width, 3), (200, 30, 30), np.uint8))
    capture = cv2.VideoCapture(str(tmp_path / "video.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(15)
    frames = [frame for ok, frame in iter(capture.read, (False, None)) if ok]
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 3
    blue, _, red = frames[0][24, 32]
    assert red > 150 > blue
    assert frames[2][2].max() < 40, "the wide frame has black borders above and below"


def test_video_without_frames_leaves_no_file(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "video.mp4", 15):
        pass
    assert not (tmp_path / "video.mp4").exists()


def test_video_in_a_missing_folder_is_refused_with_its_name(tmp_path: Path) -> None:
    with (
        pytest.raises(ImageError, match=r"missing.*choose another folder"),
        VideoWriter(tmp_path / "missing" / "video.mp4", 15) as video,
    ):
        video.write(np.zeros((48, 64, 3), np.uint8))
