"""Ground truth from topics and folders."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from support.evaluation_samples import GROUND_TRUTH_TOPIC, Shot, scene, shots, write_bag

from erfnet_ros.core.class_set import CAMVID, ClassSet
from erfnet_ros.core.errors import ClassSetError, EvaluationError, ImageError, SourceError
from erfnet_ros.data.bags import messages
from erfnet_ros.data.bags.reader import BagReader
from erfnet_ros.evaluation.inputs.ground_truth import FolderGroundTruth, TopicGroundTruth, label_ids

IDS = np.array([[0, 1, 2, 255], [10, 9, 8, 7]], np.uint8).repeat(6, 0).repeat(4, 1)
HEADER = messages.header(5, "camera")
STAMPS = np.array([shot.stamp_ns for shot in shots()], np.int64)


def png_message(pixels: np.ndarray, suffix: str = ".png") -> object:
    class Message:
        format = "png"
        data = cv2.imencode(suffix, pixels)[1].reshape(-1)

    return Message()


def mono_message(height: int, encoding: str, step: int, data: np.ndarray) -> SimpleNamespace:
    return SimpleNamespace(height=height, width=16, encoding=encoding, is_bigendian=0, step=step, data=data.reshape(-1))


def test_rows_padded_to_a_step_and_the_two_names_of_one_byte_are_read() -> None:
    padded = np.full((12, 20), 77, np.uint8)
    padded[:, :16] = IDS
    for encoding in ("mono8", "8UC1"):
        message = SimpleNamespace(
            height=12, width=16, encoding=encoding, is_bigendian=0, step=20, data=padded.reshape(-1)
        )
        np.testing.assert_array_equal(label_ids(message), IDS)


def test_a_compressed_ground_truth_is_read_where_it_is_lossless() -> None:
    np.testing.assert_array_equal(label_ids(png_message(IDS)), IDS)
    with pytest.raises(EvaluationError, match="got format 'png'; labels must be lossless"):
        label_ids(png_message(IDS, ".jpg"))


def test_what_is_not_one_byte_per_pixel_is_refused() -> None:
    color = np.zeros((12, 16, 3), np.uint8)
    with pytest.raises(EvaluationError, match="mono8 or 8UC1 as ground truth, got 'rgb8'; convert color labels"):
        label_ids(messages.image(color, "rgb8", HEADER))
    with pytest.raises(EvaluationError, match=r"got uint8 of shape \(12, 16, 3\)"):
        label_ids(png_message(color))
    with pytest.raises(EvaluationError, match="got uint16"):
        label_ids(png_message(IDS.astype(np.uint16)))
    with pytest.raises(ImageError, match="bytes of data"):
        label_ids(mono_message(13, "mono8", 16, IDS))


def test_the_ground_truths_of_a_topic_are_read_in_any_order(tmp_path: Path) -> None:
    with BagReader(write_bag(tmp_path / "bag", shots())) as reader:
        ground_truths = TopicGroundTruth(reader, GROUND_TRUTH_TOPIC, CAMVID, needed=[7, 2, 3])
        for index in (7, 2, 3):
            np.testing.assert_array_equal(ground_truths[index], scene()[index][1])


def test_the_void_of_the_class_set_is_void(tmp_path: Path) -> None:
    """CamVid's files say 11 where they do not know; scored as a class it would be an unknown id."""
    ids = np.full((72, 96), 11, np.uint8)
    content = [Shot(1, 1, 1, None, ids)]
    with BagReader(write_bag(tmp_path / "bag", content)) as reader:
        assert set(np.unique(TopicGroundTruth(reader, GROUND_TRUTH_TOPIC, CAMVID, needed=[0])[0])) == {255}
        own = ClassSet("own", CAMVID.names, CAMVID.colors)
        with pytest.raises(ClassSetError, match=r"got 11 \(6912 pixels\)"):
            TopicGroundTruth(reader, GROUND_TRUTH_TOPIC, own, needed=[0])[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ground_truth").mkdir()
    return tmp_path / "ground_truth"


def write(folder: Path, *names: str) -> FolderGroundTruth:
    for name in names:
        cv2.imwrite(str(folder / name), IDS)
    return FolderGroundTruth(folder, CAMVID)


def test_small_numbers_are_image_indexes(folder: Path) -> None:
    matches, how = write(folder, "0.png", "000002.png", "11.png").match(STAMPS, 0)
    assert matches.ground_truth_of == (0, None, 1, *[None] * 8, 2)
    assert (matches.unmatched_ground_truths, how) == (0, "the image indexes in their names")


def test_indexes_on_both_sides_of_the_number_of_images_stay_indexes(folder: Path) -> None:
    """One file more than images made nanoseconds of them all, and no image had a ground truth."""
    matches, how = write(folder, *(f"{index}.png" for index in range(13))).match(STAMPS, 50_000_000)
    assert matches.ground_truth_of == tuple(range(12))
    assert (matches.unmatched_ground_truths, how) == (1, "the image indexes in their names")


def test_large_numbers_are_stamps(folder: Path) -> None:
    names = [f"{STAMPS[4] + 3}.png", f"{STAMPS[1]}.png", "12.png"]
    matches, how = write(folder, *names).match(STAMPS, 5)
    assert [index for index, ground_truth in enumerate(matches.ground_truth_of) if ground_truth is not None] == [1, 4]
    assert (matches.unmatched_ground_truths, how) == (1, "the stamps in their names")


def test_other_names_follow_the_images_in_their_order(folder: Path) -> None:
    ground_truths = write(folder, *(f"frame_{index}.png" for index in range(12)))
    matches, how = ground_truths.match(STAMPS, 0)
    assert matches.ground_truth_of == tuple(range(12))
    assert [file.name for file in ground_truths.files][9:] == ["frame_9.png", "frame_10.png", "frame_11.png"]
    assert how == "their order, since their names are not numbers"


def test_other_names_of_another_number_are_refused(folder: Path) -> None:
    """Counted off against too few images, every ground truth would belong to the wrong one."""
    with pytest.raises(EvaluationError, match="as there are images, 12, got 2; name each by"):
        write(folder, "frame_1.png", "frame_2.png").match(STAMPS, 0)


def test_a_folder_without_a_png_is_refused(tmp_path: Path, folder: Path) -> None:
    (folder / "notes.txt").touch()
    with pytest.raises(SourceError, match="found none"):
        FolderGroundTruth(folder, CAMVID)
    (folder / "0.jpg").touch()
    with pytest.raises(EvaluationError, match=r"Expected PNG files of class ids in .* found none"):
        FolderGroundTruth(folder, CAMVID)
    with pytest.raises(SourceError, match="Expected a folder of images"):
        FolderGroundTruth(tmp_path / "missing", CAMVID)


def test_a_broken_file_is_named(folder: Path) -> None:
    ground_truths = write(folder, "0.png")
    (folder / "0.png").write_bytes((folder / "0.png").read_bytes()[:40])
    with pytest.raises(SourceError, match=r"0.png', got 40 bytes that cannot be decoded"):
        ground_truths[0]
