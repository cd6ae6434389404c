"""`erfnet data check`: counts of frames and classes, and named faults of a data set."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from support.small_datasets import (
    OWN,
    SIZE,
    frame,
    make_camvid,
    make_camvid_original,
    make_cityscapes,
    make_folder,
    write,
)

from erfnet_ros.commands import data
from erfnet_ros.commands.cli import main
from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.errors import SourceError

PIXELS = SIZE[0] * SIZE[1]


class Checked:
    """What the command said of a data set."""

    def __init__(self, status: int, output: str, sheet: Path) -> None:
        self.status, self.sheet = status, sheet
        self.lines = output.splitlines()
        self.faults = [line.removeprefix("fault: ") for line in self.lines if line.startswith("fault: ")]
        self.notes = [line.removeprefix("note: ") for line in self.lines if line.startswith("note: ")]

    def row(self, name: str) -> list[str]:
        """Return the columns of the table's row."""
        return next(line for line in self.lines if line.split(" ")[0] == name).split()[1:]


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def run(root: Path, *options: str) -> Checked:
        sheet = tmp_path / "sheet.png"
        status = data.main(["check", str(root), "--sheet", str(sheet), *options])
        return Checked(status, capsys.readouterr().out, sheet)

    return run


@pytest.mark.parametrize("make", [make_camvid, make_camvid_original, make_cityscapes, make_folder])
def test_a_clean_data_set_has_no_fault_in_any_layout(tmp_path: Path, check, make) -> None:
    checked = check(make(tmp_path / "set"))
    assert checked.faults == []
    assert checked.status == 0
    assert checked.lines[-1].endswith("frames can be used; no faults")


def test_frames_sizes_and_pixels_of_each_class_are_counted(tmp_path: Path, check) -> None:
    root = tmp_path / "set"
    labels = np.full((48, 64), 1, np.uint8)
    labels[:12], labels[12:18], labels[:, :8] = 0, 2, 255
    for split, frames in (("train", 3), ("val", 1)):
        for index in range(frames):
            write(root / "images" / split / f"{index}.png", frame(index + 10 * frames)[0])
            write(root / "labels" / split / f"{index}.png", labels)
    make_folder(root, {})
    checked = check(root)
    known = PIXELS * 7 // 8
    assert checked.row("frames") == ["3", "1"]
    assert checked.row("size") == ["64x48", "64x48"]
    for name, share in (("floor", 0.25), ("wall", 0.625), ("thing", 0.125)):
        expected = [str(int(known * share)), f"{100 * share:.2f}", "%"]
        assert checked.row(name)[3:] == expected
        assert int(checked.row(name)[0]) == 3 * int(expected[0])
    assert checked.row("void") == [str(3 * PIXELS // 8), "12.50", "%", str(PIXELS // 8), "12.50", "%"]


def test_the_contact_sheet_shows_frames_of_every_split_with_their_colors(tmp_path: Path, check) -> None:
    checked = check(make_camvid(tmp_path / "set"))
    sheet = cv2.imread(str(checked.sheet))[..., ::-1]
    height = 300
    assert sheet.shape[0] > 6 * height
    for color in CAMVID.colors:
        assert (sheet == color).all(axis=2).sum() > 100, f"no {color}"


def test_a_missing_label_and_a_missing_image_are_named(tmp_path: Path, check) -> None:
    root = make_camvid(tmp_path / "set")
    missing, kept = root / "val" / "labels" / "val_00001.png", root / "train" / "labels" / "train_00003.png"
    missing.unlink()
    (root / "train" / "images" / "train_00003.png").unlink()
    checked = check(root)
    assert checked.status == 1
    assert checked.faults == [
        f"train: '{kept}' has no image.",
        f"val: '{root / 'val' / 'images' / missing.name}' has no label: expected '{missing}'.",
    ]
    assert checked.lines[-1] == "6 of 7 frames can be used; 2 faults"


def test_a_split_without_any_label_is_one_fault(tmp_path: Path, check) -> None:
    """Cityscapes' extra images without gtCoarse would else be 19998 lines."""
    root = make_cityscapes(tmp_path / "set")
    (root / "gtCoarse").rename(tmp_path / "gtCoarse")
    checked = check(root)
    assert len(checked.faults) == 1
    assert "train_extra: None of 2 images has a label" in checked.faults[0]


def broken(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    return path


def test_what_cannot_be_read_or_does_not_fit_is_named_and_the_rest_is_counted(tmp_path: Path, check) -> None:
    root = make_camvid(tmp_path / "set", {"train": 6})
    names = [f"train_{index:05d}.png" for index in range(6)]
    broken(root / "train" / "images" / names[0])
    broken(root / "train" / "labels" / names[1])
    write(root / "train" / "labels" / names[2], np.zeros((40, 64), np.uint8))
    write(root / "train" / "labels" / names[3], frame(3)[0])
    write(root / "train" / "labels" / names[4], np.full((48, 64), 200, np.uint8))
    checked = check(root)
    expected = (
        ("images", "Expected an image in .* bytes that cannot be decoded"),
        ("labels", "Expected an image in .* bytes that cannot be decoded"),
        ("labels", "in the size of .*, 64 x 48, got 64 x 40"),
        ("labels", "Expected the 11 colors of class set .camvid., got .*nearest"),
        ("labels", r"ids 0\.\.10, or 11, 255 for void, of class set 'camvid', got 200 \(3072 pixels\)"),
    )
    assert len(checked.faults) == 5
    for fault, name, (folder, words) in zip(checked.faults, names, expected, strict=False):
        assert re.search(rf"^train: .*{words}", fault)
        assert f"'{root / 'train' / folder / name}'" in fault
    assert checked.row("frames") == ["1", "of", "6"]
    assert sum(int(checked.row(name)[0]) for name in (*CAMVID.names, "void")) == PIXELS
    assert checked.lines[-1] == "1 of 6 frames can be used; 5 faults"


def test_ids_outside_cityscapes_are_named_with_their_file(tmp_path: Path, check) -> None:
    root = make_cityscapes(tmp_path / "set")
    label = next((root / "gtFine" / "val").rglob("*.png"))
    ids = cv2.imread(str(label), cv2.IMREAD_UNCHANGED)
    ids[0, :3] = 40, 99, 255
    write(label, ids)
    (fault,) = check(root).faults
    assert str(label) in fault
    assert "got 40 (1 pixel), 99 (1 pixel);" in fault


def without(root: Path, class_id: int, *splits: str) -> None:
    for split in splits:
        for path in (root / split / "labels").iterdir():
            labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            labels[labels == class_id] = CAMVID.void
            write(path, labels)


def test_a_class_that_cannot_be_learned_is_a_fault_and_one_that_cannot_be_scored_a_note(tmp_path: Path, check) -> None:
    root = make_camvid(tmp_path / "set")
    without(root, 9, "train", "val", "test")
    without(root, 8, "train")
    without(root, 7, "val", "test")
    checked = check(root)
    assert checked.faults == [
        "Class 8 'car' has no pixel in train: it cannot be learned.",
        "Class 9 'pedestrian' has no pixel in any split.",
    ]
    assert checked.notes == ["Class 7 'fence' has no pixel in val, test: scores there leave it out."]
    assert checked.row("pedestrian") == ["0", "0.00", "%"] * 3


def test_a_picture_in_two_splits_is_named(tmp_path: Path, check) -> None:
    """A network that was trained on the test frames looks better than it is."""
    root = make_camvid(tmp_path / "set")
    copied = write(root / "test" / "images" / "test_00001.png", frame(0)[0])
    (fault,) = check(root).faults
    assert fault.startswith(f"'{copied}' in test is the same picture as ")


@pytest.mark.parametrize("change", ["smaller", "recompressed", "brighter"])
def test_a_frame_that_looks_like_one_of_another_split_is_a_note(tmp_path: Path, check, change: str) -> None:
    """Neighbors of one drive in train and val make a score that says nothing of the next drive."""
    root = make_camvid(tmp_path / "set", size=(192, 144))
    rgb, labels = frame(1, (192, 144))
    if change == "smaller":
        rgb, labels = cv2.resize(rgb, (96, 72), interpolation=cv2.INTER_AREA), labels[::2, ::2].copy()
    if change == "brighter":
        rgb = np.clip(rgb * 1.2 + 10, 0, 255).astype(np.uint8)
    labels[labels == 255] = CAMVID.void
    (root / "val" / "images" / "val_00001.png").unlink()
    copied = write(root / "val" / "images" / "val_00001.jpg", rgb)
    write(root / "val" / "labels" / "val_00001.png", labels)
    (note,) = check(root).notes
    original = root / "train" / "images" / "train_00001.png"
    assert note.startswith(f"1 of 2 frames of val look like frames of train, such as '{copied}' like '{original}': ")


def test_images_that_are_turned_when_read_are_a_note(tmp_path: Path, check) -> None:
    """Upside down they keep their size, and labels drawn on the stored image would silently be wrong."""
    root = make_folder(tmp_path / "set")
    image = root / "images" / "frame_3.jpg"
    with Image.open(image) as picture:
        exif = picture.getexif()
        exif[0x0112] = 3
        picture.save(image, exif=exif)
    (note,) = check(root).notes
    assert note.startswith(f"1 images, such as '{image}', are turned by their EXIF orientation")


def test_a_class_of_few_pixels_and_mostly_void_are_notes(tmp_path: Path, check) -> None:
    labels = np.full((48, 64), 255, np.uint8)
    labels[:20], labels[0, :3] = np.arange(64) % 2, 2
    for index in range(3):
        write(tmp_path / "set" / "images" / "train" / f"{index}.png", frame(index)[0])
        write(tmp_path / "set" / "labels" / "train" / f"{index}.png", labels)
    assert check(make_folder(tmp_path / "set", {})).notes == [
        "train: 58 % of the pixels are void: neither trained on nor scored.",
        "Class 'thing' has 0.23 % of the labeled pixels of train, in 3 of 3 frames: expect a low IoU; label more "
        "frames that show it.",
    ]


def test_one_class_alone_is_a_fault(tmp_path: Path, check) -> None:
    root = make_folder(tmp_path / "set")
    for path in (root / "labels").iterdir():
        write(path, np.zeros((48, 64), np.uint8))
    assert check(root).faults[0].startswith("Only class 'floor' is labeled: label what it is not")


def test_coarse_labels_of_the_same_images_are_no_double(tmp_path: Path, check) -> None:
    root = make_cityscapes(tmp_path / "set")
    for fine in (root / "gtFine" / "train").rglob("*.png"):
        coarse = Path(str(fine).replace("gtFine", "gtCoarse"))
        coarse.parent.mkdir(parents=True, exist_ok=True)
        coarse.write_bytes(fine.read_bytes())
    checked = check(root)
    assert checked.faults == []
    assert checked.row("frames") == ["4", "2", "2", "2", "4"]


def test_a_folder_without_labels_is_counted_and_shown(tmp_path: Path, check) -> None:
    root = make_folder(tmp_path / "set")
    (root / "labels").rename(tmp_path / "labels")
    checked = check(root)
    assert checked.status == 1
    assert checked.faults == ["No split has labels: nothing can be trained or scored."]
    assert checked.row("frames") == ["8", "2"]
    assert checked.row(OWN.names[0]) == ["-", "-"]
    assert checked.sheet.is_file()


def test_a_split_that_is_empty_is_a_fault_of_a_data_set_that_is_not(tmp_path: Path, check) -> None:
    root = make_camvid(tmp_path / "set")
    (root / "test" / "images").rename(tmp_path / "images")
    (root / "test" / "images").mkdir()
    checked = check(root)
    assert len(checked.faults) == 1
    assert "test: Expected images" in checked.faults[0]
    assert checked.row("frames") == ["4", "2", "0"]


def test_an_empty_folder_is_an_error(tmp_path: Path, check) -> None:
    with pytest.raises(SourceError, match="Expected a data set in"):
        check(tmp_path)
    (tmp_path / "train" / "images").mkdir(parents=True)
    with pytest.raises(SourceError, match=r"Expected images .* found none"):
        check(tmp_path, "--kind", "camvid")


def test_the_command_answers_through_erfnet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = make_camvid(tmp_path / "set", {"train": 1})
    assert main(["data", "check", str(root)]) == 0
    assert (tmp_path / "data_check.png").is_file()
    assert main(["data", "check", str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err
