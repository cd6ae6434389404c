"""Frame sources: RGB frames with void as 255, and errors for faulty folders, labels and videos."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from erfnet_ros.core.class_set import CAMVID, CITYSCAPES
from erfnet_ros.core.errors import SourceError
from erfnet_ros.data.frame_sources import open_source

CAMVID_TEST = Path(__file__).resolve().parents[3] / "shared" / "camvid" / "test"


def write(path: Path, pixels: npt.NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


def picture(width: int = 32, height: int = 24, bgr: tuple[int, int, int] = (10, 20, 200)) -> npt.NDArray[np.uint8]:
    return np.full((height, width, 3), bgr, np.uint8)


def labeled_folder(root: Path, ids: npt.NDArray[np.uint8]) -> Path:
    write(root / "images" / "a.png", picture())
    write(root / "labels" / "a.png", ids)
    return root


def test_a_folder_of_images_gives_rgb_frames_in_natural_order_and_any_size(tmp_path: Path) -> None:
    write(tmp_path / "f10.png", picture(40, 30))
    write(tmp_path / "f2.png", picture())
    (tmp_path / "notes.txt").write_text("not an image")
    source = open_source(str(tmp_path), CAMVID, frames=1)
    assert len(source) == 2
    assert not source.has_ground_truth
    assert [frame.name for frame in source] == ["f2", "f10"]
    assert source[0].rgb[0, 0].tolist() == [200, 20, 10]
    assert source[1].rgb.shape == (30, 40, 3)
    assert source[1].ground_truth is None


def test_a_source_can_be_gone_through_twice_and_ends_at_its_length(tmp_path: Path) -> None:
    write(tmp_path / "a.png", picture())
    source = open_source(str(tmp_path), CAMVID)
    assert [frame.name for frame in source] == [frame.name for frame in source]
    for index in (-1, 1):
        with pytest.raises(IndexError, match=f"from 0 to 0, got {index}"):
            source[index]


def test_labels_come_with_void_as_255(tmp_path: Path) -> None:
    ids = np.full((24, 32), 3, np.uint8)
    ids[0] = 11
    source = open_source(str(labeled_folder(tmp_path, ids)), CAMVID)
    ground_truth = source[0].ground_truth
    assert source.has_ground_truth
    assert ground_truth is not None
    assert ground_truth[0, 0] == 255
    assert ground_truth[1, 0] == 3


def test_an_images_folder_without_labels_has_no_ground_truth(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", picture())
    assert not open_source(str(tmp_path), CAMVID).has_ground_truth


def test_images_without_a_label_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    labeled_folder(tmp_path, np.zeros((24, 32), np.uint8))
    write(tmp_path / "images" / "b2.png", picture())
    write(tmp_path / "images" / "b10.png", picture())
    with pytest.raises(SourceError, match=r"each of the 3 images .* got none for 2, the first being 'b2\.png'"):
        open_source(str(tmp_path), CAMVID)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros((24, 30), np.uint8), r"a\.png.*32 x 24, got 30 x 24"),
        (np.full((24, 32), 77, np.uint8), r"labels.*a\.png.*got 77 \(768 pixels\)"),
        (picture(), r"a\.png': Expected the 11 colors of class set 'camvid', got .*nearest '"),
    ],
    ids=["size", "ids", "colors"],
)
def test_labels_that_do_not_fit_are_named(tmp_path: Path, labels: npt.NDArray[np.uint8], words: str) -> None:
    source = open_source(str(labeled_folder(tmp_path, labels)), CAMVID)
    with pytest.raises(SourceError, match=words):
        source[0]


@pytest.mark.parametrize("content", [b"", b"no image at all"])
def test_an_unreadable_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.jpg").write_bytes(content)
    source = open_source(str(tmp_path), CAMVID)
    with pytest.raises(SourceError, match=rf"broken\.jpg', got {len(content)} bytes"):
        source[0]


def test_an_image_that_vanished_is_named(tmp_path: Path) -> None:
    image = write(tmp_path / "a.png", picture())
    source = open_source(str(tmp_path), CAMVID)
    image.unlink()
    with pytest.raises(SourceError, match=r"Cannot read .*a\.png': No such file"):
        source[0]


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere', which does not exist"):
        open_source(str(tmp_path / "nowhere"), CAMVID)


def test_a_single_image_is_answered_with_its_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"single image .*name its folder"):
        open_source(str(write(tmp_path / "a.png", picture())), CAMVID)


def test_no_frames_at_all_is_refused() -> None:
    with pytest.raises(SourceError, match="1 frame or more, got 0"):
        open_source("synthetic", CAMVID, frames=0)


@pytest.mark.parametrize("spec", ["synthetic:", "synthetic:-1", "synthetic:x", "synthetic:1.5"])
def test_a_seed_that_is_no_whole_number_is_refused(spec: str) -> None:
    with pytest.raises(SourceError, match=f"whole number of 0 or more, got '{spec}'"):
        open_source(spec, CAMVID)


def test_the_synthetic_street_gives_as_many_frames_as_asked_with_ground_truth() -> None:
    source = open_source("synthetic:3", CAMVID, frames=4, size=(96, 64))
    frames = list(source)
    assert len(source) == len(frames) == 4
    assert source.has_ground_truth
    assert frames[2].rgb.shape == (64, 96, 3)
    assert frames[2].ground_truth is not None
    np.testing.assert_array_equal(source[2].rgb, frames[2].rgb)


def test_seeds_give_different_streets_and_seed_0_is_the_default() -> None:
    first, default, other = (
        open_source(s, CAMVID, size=(96, 64))[0].rgb for s in ("synthetic:0", "synthetic", "synthetic:1")
    )
    np.testing.assert_array_equal(first, default)
    assert (first != other).any()


def test_the_synthetic_street_is_no_ground_truth_for_other_classes_than_camvids() -> None:
    source = open_source("synthetic", CITYSCAPES, frames=1, size=(96, 64))
    assert not source.has_ground_truth
    assert source[0].ground_truth is None


def video(path: Path, frames: int, size: tuple[int, int] = (64, 48)) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 15, size)
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write MJPG videos")
    for number in range(frames):
        writer.write(picture(*size, (20 * number, 0, 200)))
    writer.release()
    return path


def test_a_video_gives_rgb_frames_by_index_up_to_the_limit(tmp_path: Path) -> None:
    source = open_source(str(video(tmp_path / "drive.avi", 8)), CAMVID, frames=5)
    assert len(source) == 5
    assert not source.has_ground_truth
    red, _, blue = (int(value) for value in source[4].rgb[24, 32])
    assert abs(red - 200) < 12
    assert abs(blue - 80) < 12
    assert [frame.name for frame in source][-1] == "000004"


def test_a_video_shorter_than_the_limit_has_its_own_length(tmp_path: Path) -> None:
    assert len(open_source(str(video(tmp_path / "drive.avi", 3)), CAMVID, frames=50)) == 3


def test_a_video_of_huge_frames_is_refused_before_one_is_decoded(tmp_path: Path) -> None:
    """A few kilobytes of video would take gigabytes."""
    path = video(tmp_path / "huge.avi", 1, (4112, 4104))
    with pytest.raises(SourceError, match=r"huge\.avi': Expected an image of at most 16\.8 megapixels, got 4112x4104"):
        open_source(str(path), CAMVID)


def test_a_file_that_is_no_video_is_named(tmp_path: Path) -> None:
    path = tmp_path / "drive.mp4"
    path.write_bytes(b"no video at all")
    with pytest.raises(SourceError, match=r"no frame out of '.*drive\.mp4'"):
        open_source(str(path), CAMVID)


def test_the_camvid_test_split_opens_with_ground_truth() -> None:
    if not CAMVID_TEST.is_dir():
        pytest.skip(f"no CamVid at {CAMVID_TEST}")
    source = open_source(str(CAMVID_TEST), CAMVID)
    assert len(source) == 233
    ground_truth = source[0].ground_truth
    assert ground_truth is not None
    assert ground_truth.shape == source[0].rgb.shape[:2] == (360, 480)
    assert set(np.unique(ground_truth)) <= {*range(11), 255}
