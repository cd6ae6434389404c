"""Data sets in every layout, and errors for faulty files."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from cityscapesscripts.helpers.labels import labels as official_labels
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from support.small_datasets import (
    FRAMES,
    ORIGINAL_NAMES,
    OWN,
    frame,
    make_camvid,
    make_camvid_original,
    make_cityscapes,
    make_folder,
    write,
)

from erfnet_ros.core.array_types import VOID
from erfnet_ros.core.class_set import CAMVID, CITYSCAPES
from erfnet_ros.core.errors import ClassSetError, ParameterError, SourceError
from erfnet_ros.data.datasets import detect_kind, open_dataset, open_layout
from erfnet_ros.data.datasets.camvid import GROUPS, ORIGINAL_COLORS, split_of
from erfnet_ros.data.datasets.cityscapes import LABEL_MAP, label_ids
from erfnet_ros.data.frame_sources import Frame

REAL_CAMVID = Path(__file__).resolve().parents[4] / "shared" / "camvid"

Made = tuple[str, Path]
MAKERS = {
    "camvid": (make_camvid, "camvid"),
    "camvid original": (make_camvid_original, "camvid"),
    "cityscapes": (make_cityscapes, "cityscapes"),
    "folder": (make_folder, "folder"),
}


@pytest.fixture(scope="module", params=MAKERS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return kind and folder of a data set; nothing in it may be changed."""
    make, kind = MAKERS[request.param]
    return kind, make(tmp_path_factory.mktemp("data") / "set")


def ground_truth_of(shown: Frame) -> np.ndarray:
    assert shown.ground_truth is not None
    return shown.ground_truth


def test_frames_come_as_rgb_with_ground_truth_of_their_size_and_void_as_255(made: Made) -> None:
    kind, root = made
    dataset = open_dataset(kind, root, "train")
    expected, labels = frame(0, class_set=dataset.class_set)
    first = dataset[0]
    assert dataset.has_ground_truth
    np.testing.assert_array_equal(ground_truth_of(first), labels)
    # The folder's images are JPEG files.
    assert np.abs(first.rgb.astype(int) - expected).mean() < (8 if kind == "folder" else 1e-9)
    for shown in dataset:
        assert set(np.unique(ground_truth_of(shown))) == {*range(len(dataset.class_set)), VOID}


def test_the_kind_is_told_by_the_folders(made: Made) -> None:
    kind, root = made
    assert detect_kind(root) == kind


def test_entries_are_the_frames_files_in_order(made: Made) -> None:
    dataset = open_dataset(*made, "val")
    assert [entry.name for entry in dataset.entries()] == [shown.name for shown in dataset]
    assert all(entry.image.is_file() and entry.label and entry.label.is_file() for entry in dataset.entries())
    assert len(dataset.entries()) == len(dataset)


def test_splits_joined_by_plus_hold_the_frames_of_both(made: Made) -> None:
    train, val, both = (open_dataset(*made, split) for split in ("train", "val", "train+val"))
    assert [e.image for e in both.entries()] == [e.image for e in (*train.entries(), *val.entries())]
    assert both.split == "train+val"


def test_a_data_set_can_be_sent_to_a_loaders_process(made: Made) -> None:
    dataset = open_dataset(*made, "train")
    copy = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(ground_truth_of(copy[1]), ground_truth_of(dataset[1]))


def test_an_index_past_the_end_ends_a_loop(made: Made) -> None:
    dataset = open_dataset(*made, "val")
    with pytest.raises(IndexError, match=f"got {len(dataset)}"):
        dataset[len(dataset)]


@pytest.mark.parametrize("split", ["trian", "train+train", "train+", ""])
def test_a_split_that_is_not_there_is_answered_with_those_that_are(made: Made, split: str) -> None:
    with pytest.raises(SourceError, match=rf"Expected a split of .*train, val.*got '{split.replace('+', '.')}'"):
        open_dataset(*made, split)


def test_an_unknown_kind_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="camvid, cityscapes, folder, got 'kitti'"):
        open_dataset("kitti", tmp_path, "train")


@pytest.mark.parametrize("kind", ["camvid", "cityscapes", "folder"])
def test_a_folder_that_is_no_data_set_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(SourceError, match=r"Expected .* in .*(got|found) no"):
        open_layout(kind, tmp_path)
    with pytest.raises(SourceError, match="no such folder"):
        open_layout(kind, tmp_path / "nowhere")
    with pytest.raises(SourceError, match=r"Expected a data set .*CamVid .* Cityscapes .* folder of your own"):
        detect_kind(tmp_path)


def test_a_missing_label_is_counted_and_named(tmp_path: Path) -> None:
    root = make_camvid(tmp_path)
    (root / "train" / "labels" / "train_00002.png").unlink()
    with pytest.raises(SourceError, match=r"each of the 4 images of split train, got none for 1.*'train_00002\.png'"):
        open_dataset("camvid", root, "train+val")


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    """Otherwise both would be trained on the same label."""
    root = make_folder(tmp_path)
    write(root / "images" / "frame_3.png", frame(3)[0])
    with pytest.raises(SourceError, match=r"each name once .*frame_3\.jpg' and 'frame_3\.png'"):
        open_dataset("folder", root, "train")


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    root = make_camvid(tmp_path)
    (root / "test" / "images").rename(root / "elsewhere")
    (root / "test" / "images").mkdir()
    with pytest.raises(SourceError, match="found none"):
        open_dataset("camvid", root, "test")


def test_a_damaged_png_in_the_middle_is_named(tmp_path: Path) -> None:
    root = make_camvid(tmp_path)
    label = root / "train" / "labels" / "train_00001.png"
    label.write_bytes(label.read_bytes()[:-40])
    dataset = open_dataset("camvid", root, "train")
    with pytest.raises(SourceError, match=r"train_00001\.png.* cannot be decoded"):
        dataset[1]
    assert dataset[2].ground_truth is not None


def test_the_tutorials_own_folders_are_known_as_well(tmp_path: Path) -> None:
    made = make_camvid(tmp_path / "made")
    root = tmp_path / "tutorial"
    for split in FRAMES:
        (root / f"{split}annot").parent.mkdir(exist_ok=True)
        (made / split / "images").rename(root / split)
        (made / split / "labels").rename(root / f"{split}annot")
    assert detect_kind(root) == "camvid"
    assert ground_truth_of(open_dataset("camvid", root, "val")[0])[0, 0] == VOID


def test_the_original_release_falls_into_the_published_splits(tmp_path: Path) -> None:
    root = make_camvid_original(tmp_path)
    for split, names in ORIGINAL_NAMES.items():
        assert {entry.name for entry in open_dataset("camvid", root, split).entries()} == {*names}


def test_each_of_the_32_colors_has_its_own_class() -> None:
    assert sum(len(members) for members in GROUPS.values()) == 32
    assert len({color for members in GROUPS.values() for color in members.values()}) == 32
    for group, members in GROUPS.items():
        expected = VOID if group == "void" else CAMVID.names.index(group)
        colors = np.array([list(members.values())], np.uint8)
        assert ORIGINAL_COLORS.from_colors(colors).tolist() == [[expected] * len(members)]


@pytest.mark.parametrize("color", [(128, 64, 129), (192, 192, 192)])
def test_a_color_that_camvid_does_not_have_is_named_with_the_file(tmp_path: Path, color: tuple[int, int, int]) -> None:
    """A JPEG of the labels, or another release: guessed classes would be worse than none."""
    root = make_camvid_original(tmp_path)
    label = root / "LabeledApproved_full" / "0001TP_006690_L.png"
    colors = cv2.imread(str(label))[..., ::-1].copy()
    colors[3, 3] = color
    write(label, colors)
    with pytest.raises(
        SourceError, match=rf"0001TP_006690_L\.png.*32 colors .*got \({color[0]}, {color[1]}, {color[2]}\)"
    ):
        open_dataset("camvid", root, "train")[0]


def test_ids_in_place_of_the_originals_colors_are_refused(tmp_path: Path) -> None:
    root = make_camvid_original(tmp_path)
    write(root / "LabeledApproved_full" / "0001TP_006690_L.png", frame(0)[1])
    with pytest.raises(SourceError, match=r"0001TP_006690_L\.png': Expected the 32 colors"):
        open_dataset("camvid", root, "train")[0]


def test_cityscapes_label_ids_become_the_official_train_ids() -> None:
    ids = np.arange(34, dtype=np.uint8)
    official = {label.id: label.trainId for label in official_labels}
    assert LABEL_MAP.from_ids(ids).tolist() == [official[i] for i in range(34)]
    assert [CITYSCAPES.names[t] for t in LABEL_MAP.from_ids(ids) if t != VOID] == [
        label.name for label in official_labels if 0 <= label.trainId < VOID
    ]


@given(arrays.arrays(np.uint8, (4, 5), elements=st.sampled_from([*range(19), VOID])))
def test_train_ids_survive_the_way_to_label_ids_and_back(labels: np.ndarray) -> None:
    np.testing.assert_array_equal(LABEL_MAP.from_ids(label_ids(labels)), labels)


def test_cityscapes_test_split_has_no_ground_truth_and_extra_frames_have_coarse_ground_truth(tmp_path: Path) -> None:
    root = make_cityscapes(tmp_path)
    test, extra = (open_dataset("cityscapes", root, split) for split in ("test", "train_extra"))
    assert not test.has_ground_truth
    assert test[0].ground_truth is None
    assert extra.has_ground_truth
    assert all("gtCoarse" in str(entry.label) for entry in extra.entries())
    assert test[0].name == "berlin_000000_000006"
    with pytest.raises(SourceError, match=r"all have labels, or none, got 'train\+test'"):
        open_dataset("cityscapes", root, "train+test")


def test_label_ids_that_cityscapes_does_not_have_are_named(tmp_path: Path) -> None:
    root = make_cityscapes(tmp_path)
    dataset = open_dataset("cityscapes", root, "val")
    label = dataset.entries()[1].label
    assert label is not None
    write(label, np.full((48, 64), 34, np.uint8))
    with pytest.raises(SourceError, match=rf"{label.name}.*0\.\.6.* for void.*, got 34 \(3072 pixels\)"):
        dataset[1]


def test_a_folder_without_splits_keeps_its_last_fifth_for_validation(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    train, val = (open_dataset("folder", root, split) for split in ("train", "val"))
    assert train.class_set == OWN
    assert [entry.name for entry in train.entries()] == [f"frame_{i}" for i in range(8)]
    assert [entry.name for entry in val.entries()] == ["frame_8", "frame_9"]


@pytest.mark.parametrize(("frames", "trained_on"), [(2, 1), (4, 3), (9, 8)])
def test_a_small_folder_without_splits_keeps_one_frame_for_validation(
    tmp_path: Path, frames: int, trained_on: int
) -> None:
    """Else a first try with a handful of frames is refused for a split that nobody asked for."""
    root = make_folder(tmp_path, {"": frames})
    assert len(open_dataset("folder", root, "train")) == trained_on
    assert len(open_dataset("folder", root, "val")) == 1


def test_a_folder_of_one_frame_has_nothing_to_validate_on(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"": 1})
    assert open_layout("folder", root).splits == ("train",)
    assert len(open_dataset("folder", root, "train")) == 1


def test_a_folder_with_splits_may_use_a_name_twice(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train": 3, "val": 2, "rain": 1})
    assert open_layout("folder", root).splits == ("train", "val", "rain")
    assert open_dataset("folder", root, "val")[0].name == "frame_0"
    both = open_dataset("folder", root, "train+rain")
    assert [shown.name for shown in both] == ["train_frame_0", "train_frame_1", "train_frame_2", "rain_frame_0"]


def test_a_folder_of_splits_that_hold_images_and_labels_is_a_folder_of_ones_own(tmp_path: Path) -> None:
    """Taken as CamVid, its ids would silently become CamVid's classes."""
    root = make_folder(tmp_path, {"train": 2, "val": 1})
    for split in ("train", "val"):
        for name in ("images", "labels"):
            (root / split).mkdir(exist_ok=True)
            (root / name / split).rename(root / split / name)
    for name in ("images", "labels"):
        (root / name).rmdir()
    assert detect_kind(root) == "folder"
    assert open_layout("folder", root).splits == ("train", "val")
    assert ground_truth_of(open_dataset("folder", root, "train+val")[0])[-1, 0] == 0


@pytest.mark.parametrize("name", ["masks", "annotations", "SegmentationClass"])
def test_labels_in_a_folder_of_another_name_are_mentioned(tmp_path: Path, name: str) -> None:
    root = make_folder(tmp_path)
    (root / "labels").rename(root / name)
    with pytest.raises(SourceError, match=rf"Expected the labels in '.*labels', got a folder '{name}'; rename"):
        open_dataset("folder", root, "train")


@pytest.mark.parametrize("name", ["__MACOSX", ".ipynb_checkpoints", "@eaDir", "_thumbs"])
def test_what_other_programs_leave_behind_is_no_split(tmp_path: Path, name: str) -> None:
    root = make_folder(tmp_path)
    write(root / "images" / name / "frame_0.png", frame(0)[0])
    assert open_layout("folder", root).splits == ("train", "val")


def test_images_next_to_splits_are_not_silently_left_out(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    (root / "images" / "more").mkdir()
    with pytest.raises(SourceError, match=r"got both, 'frame_\d\.jpg' and 'more'"):
        open_dataset("folder", root, "train")


def test_labels_pair_with_their_images_whatever_the_form_of_their_names(tmp_path: Path) -> None:
    """macOS writes an umlaut as two characters, cameras write suffixes in upper case, other tools write TIFF."""
    root = make_folder(tmp_path, {"": 3})
    for index, suffixes in enumerate([(".JPG", ".PNG"), (".jpg", ".tif"), (".jpg", ".bmp")]):
        image, label = root / "images" / f"frame_{index}.jpg", root / "labels" / f"frame_{index}.png"
        image.rename(image.with_name(f"f\u00fcr_{index}{suffixes[0]}"))
        write(label.with_name(f"fu\u0308r_{index}{suffixes[1]}"), cv2.imread(str(label), cv2.IMREAD_UNCHANGED))
        label.unlink()
    entries = open_dataset("folder", root, "train+val").entries()
    assert [entry.label and entry.label.suffix for entry in entries] == [".PNG", ".tif", ".bmp"]


@pytest.mark.parametrize("name", ["frame_0.jpg", "frame_0_mask.png", "frame_0.labels.png"])
def test_a_label_of_another_name_or_format_is_mentioned_where_one_is_missing(tmp_path: Path, name: str) -> None:
    root = make_folder(tmp_path)
    (root / "labels" / "frame_0.png").rename(root / "labels" / name)
    with pytest.raises(SourceError, match=rf"none for 1, .*'{name}' lies there: labels are PNG, TIFF or BMP"):
        open_dataset("folder", root, "train")


def test_labels_drawn_before_the_image_was_turned_are_told_from_those_of_another_size(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"": 1})
    image = root / "images" / "frame_0.jpg"
    with Image.open(image) as picture:
        exif = picture.getexif()
        exif[0x0112] = 6
        picture.save(image, exif=exif)
    with pytest.raises(SourceError, match=r"turned as 'frame_0\.jpg' is by its EXIF orientation, 48 x 64, got 64 x 48"):
        open_dataset("folder", root, "train")[0]


def test_a_folder_without_labels_can_still_be_played(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    (root / "labels").rename(root / "away")
    dataset = open_dataset("folder", root, "train+val")
    assert len(dataset) == 10
    assert not dataset.has_ground_truth
    assert dataset[0].ground_truth is None


def test_a_folder_says_what_its_ids_mean_or_is_refused(tmp_path: Path) -> None:
    root = make_folder(tmp_path)
    (root / "classes.yaml").write_text("floor")
    with pytest.raises(ClassSetError, match=r"classes\.yaml"):
        open_dataset("folder", root, "train")
    (root / "classes.yaml").unlink()
    with pytest.raises(SourceError, match=r"Expected a file 'classes\.yaml' .*config/classes/camvid\.yaml"):
        open_dataset("folder", root, "train")


def test_real_camvid_has_the_published_splits() -> None:
    if not REAL_CAMVID.is_dir():
        pytest.skip(f"no CamVid at {REAL_CAMVID}")
    for split, frames in (("train", 367), ("val", 101), ("test", 233)):
        dataset = open_dataset("camvid", REAL_CAMVID, split)
        assert len(dataset) == frames
        # The original release is split by this rule, with no list at hand.
        assert {split_of(entry.name) for entry in dataset.entries()} == {split}
    assert ground_truth_of(dataset[0]).shape == dataset[0].rgb.shape[:2] == (360, 480)
