"""`erfnet evaluate`: scores compared with the node's own code, outputs, and refused options."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from support.cityscapes_scores import official_scores
from support.small_datasets import make_camvid, write

from erfnet_ros.commands.cli import main as erfnet
from erfnet_ros.commands.evaluate import main
from erfnet_ros.core.class_set import CAMVID, CITYSCAPES, ClassSet
from erfnet_ros.core.errors import ErfnetError, ParameterError
from erfnet_ros.core.output_files import LOCK, locked_output_folder
from erfnet_ros.data.datasets import open_dataset
from erfnet_ros.evaluation.dataset.augmented_segmenter import AugmentedSegmenter
from erfnet_ros.evaluation.metrics.segmentation_score import Score
from erfnet_ros.inference.engine import EngineRequest
from erfnet_ros.inference.segmenter import Segmenter
from erfnet_ros.models import checkpoint as checkpoints
from erfnet_ros.models.erfnet import ERFNet

SHARED_CAMVID = Path(__file__).resolve().parents[3] / "shared" / "camvid"
CPU = ("--device", "cpu", "--precision", "fp32")


def random_weights(path: Path, class_set: ClassSet, size: tuple[int, int] = (64, 48)) -> Path:
    torch.manual_seed(1)
    state = ERFNet(len(class_set)).state_dict()
    checkpoints.save(checkpoints.Checkpoint(class_set, state, size, "none, random weights", None, "Apache-2.0"), path)
    return path


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_camvid(tmp_path_factory.mktemp("camvid"), {"test": 3})


@pytest.fixture(scope="module")
def cityscapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise in Cityscapes' layout, 3 frames of val with ground truth and 1 of test without."""
    root, rng = tmp_path_factory.mktemp("cityscapes"), np.random.default_rng(0)
    for number in range(4):
        split, city = ("val", "munster") if number < 3 else ("test", "bonn")
        name = f"{city}_000000_{number:06d}"
        image = rng.integers(0, 256, (48, 64, 3), np.uint8)
        write(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", image)
        if split == "val":
            ids = rng.integers(0, 34, (48, 64), np.uint8)
            write(root / "gtFine" / split / city / f"{name}_gtFine_labelIds.png", ids)
    return root


@pytest.fixture(scope="module")
def nineteen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_weights(tmp_path_factory.mktemp("weights") / "nineteen.safetensors", CITYSCAPES)


def direct(data_dir: Path, kind: str, split: str, indices: list[int], **settings: Any) -> Score:
    """Score without the command: the loop that a reader would write."""
    data, segmenter = open_dataset(kind, data_dir, split), Segmenter(**settings)
    score = Score(data.class_set)
    for index in indices:
        frame = data[index]
        assert frame.ground_truth is not None
        result = segmenter(frame.rgb)
        score.add(frame.ground_truth, result.labels, result.confidence)
    return score


def test_the_command_says_what_the_segmenter_scores(
    camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, pictures = tmp_path / "new" / "scores.json", tmp_path / "pictures"
    command = ["evaluate", "camvid", "--data", str(camvid), *CPU, "--input-size", "64x48", "--json", str(out)]
    assert erfnet([*command, "--pictures", str(pictures)]) == 0
    settings = {"device": "cpu", "precision": "fp32", "input_size": (64, 48)}
    score = direct(camvid, "camvid", "test", [0, 1, 2], **settings)
    statistics = score.statistics()
    content = json.loads(out.read_text())
    assert {name: content[name] for name in statistics.to_dict()} == statistics.to_dict()
    assert Score.from_dict(content["score"]) == score
    assert [frame["name"] for frame in content["by_frame"]] == [f"test_{index:05d}" for index in range(3)]
    assert content["provenance"] | {"versions": ""} == {
        "data_set": "camvid",
        "split": "test",
        "frames": "3",
        "protocol": "full",
        "scored_size": "64x48",
        "input_size": "64x48",
        "augmentation": "none",
        "checkpoint": str(checkpoints.DEFAULT),
        "checkpoint_sha256": hashlib.sha256(checkpoints.DEFAULT.read_bytes()).hexdigest(),
        "trained_on": checkpoints.load().data,
        "engine": "pytorch",
        "device": "cpu",
        "precision": "fp32",
        "versions": "",
    }
    printed = capsys.readouterr().out
    assert statistics.miou is not None
    assert f"{100 * statistics.miou:.2f} %" in printed
    assert all(name in printed for name in (*CAMVID.names, "boundary F-score", "calibration error", "construction"))
    assert sorted(path.name for path in pictures.iterdir()) == ["best.png", "confusions.png", "worst.png"]
    assert list(out.parent.iterdir()) == [out], "nothing half-written is left next to it"


def test_contact_sheets_show_the_frames_in_the_order_of_their_scores(camvid: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.json"
    command = ["camvid", "--data", str(camvid), *CPU, "--input-size", "64x48", "--json", str(out)]
    assert main([*command, "--pictures", str(tmp_path)]) == 0
    order = sorted(json.loads(out.read_text())["by_frame"], key=lambda frame: -frame["miou"])
    best, worst = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("best", "worst"))
    assert best is not None
    assert worst is not None
    for row, frame in enumerate(order):
        camera = cv2.imread(str(camvid / "test" / "images" / f"{frame['name']}.png"))
        assert camera is not None
        expected = cv2.resize(camera, (400, 300), interpolation=cv2.INTER_LINEAR)
        for sheet, place in ((best, row), (worst, len(order) - 1 - row)):
            top = 130 + 336 * place
            np.testing.assert_array_equal(sheet[top : top + 300, 24:424], expected)


def test_the_papers_protocol_scores_at_a_height_of_512(tmp_path: Path, nineteen: Path) -> None:
    name = "munster_000000_000000"
    rng = np.random.default_rng(0)
    image, ids = rng.integers(0, 256, (640, 1280, 3), np.uint8), rng.integers(0, 34, (640, 1280), np.uint8)
    write(tmp_path / "leftImg8bit" / "val" / "munster" / f"{name}_leftImg8bit.png", image)
    write(tmp_path / "gtFine" / "val" / "munster" / f"{name}_gtFine_labelIds.png", ids)
    contents = {}
    for protocol in ("full", "paper"):
        out = tmp_path / f"{protocol}.json"
        command = ["cityscapes", "--data", str(tmp_path), "--checkpoint", str(nineteen), *CPU, "--json", str(out)]
        assert main([*command, "--protocol", protocol]) == 0
        contents[protocol] = json.loads(out.read_text())
    # Of 34 label ids 19 are scored.
    for protocol, pixels in (("full", 1280 * 640), ("paper", 1024 * 512)):
        assert np.sum(contents[protocol]["score"]["matrix"]) == pytest.approx(pixels * 19 / 34, rel=0.01)
    assert contents["paper"]["provenance"]["scored_size"] == contents["paper"]["provenance"]["input_size"] == "1024x512"
    assert contents["full"]["provenance"]["scored_size"] == "1280x640"


def test_test_time_augmentation_is_said_and_scored(camvid: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.json"
    command = ["camvid", "--data", str(camvid), *CPU, "--input-size", "64x48", "--json", str(out)]
    assert main([*command, "--tta", "--tta-scales", "1,1.5"]) == 0
    content = json.loads(out.read_text())
    assert content["provenance"]["augmentation"] == "mirrored, scales 1, 1.5"
    segment = AugmentedSegmenter(EngineRequest(checkpoints.load(), "cpu", "fp32", (64, 48)), (1, 1.5))
    score = Score(CAMVID)
    for frame in open_dataset("camvid", camvid, "test"):
        assert frame.ground_truth is not None
        found = segment(frame.rgb)
        score.add(frame.ground_truth, found.labels, found.confidence)
    assert Score.from_dict(content["score"]) == score


def test_the_export_for_the_server_scores_there_as_here(cityscapes: Path, nineteen: Path, tmp_path: Path) -> None:
    out, folder = tmp_path / "scores.json", tmp_path / "server"
    command = ["cityscapes", "--data", str(cityscapes), "--checkpoint", str(nineteen), *CPU]
    assert main([*command, "--json", str(out), "--export-server", str(folder)]) == 0
    content = json.loads(out.read_text())
    ground_truth = sorted((cityscapes / "gtFine" / "val").rglob("*_labelIds.png"))
    theirs = official_scores(ground_truth, folder)
    assert content["miou"] == pytest.approx(theirs["averageScoreClasses"])
    assert content["category_miou"] == pytest.approx(theirs["averageScoreCategories"])
    assert (content["provenance"]["split"], content["frames"]) == ("val", 3)


def test_a_split_without_ground_truth_is_exported_without_figures(
    cityscapes: Path, nineteen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores.json"
    command = ["cityscapes", "--data", str(cityscapes), "--split", "test", "--checkpoint", str(nineteen), *CPU]
    with pytest.raises(
        ErfnetError, match="got none in split test of cityscapes; take another --split, or write its la"
    ):
        main(command)
    assert main([*command, "--export-server", str(tmp_path / "server"), "--json", str(out)]) == 0
    assert [path.name for path in (tmp_path / "server").iterdir()] == ["bonn_000000_000003_labelIds.png"]
    assert json.loads(out.read_text())["miou"] is None
    printed = capsys.readouterr().out
    assert "No ground truth to score against." in printed
    assert "1 label files for the server in" in printed


def test_absent_classes_are_named_on_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "test" / "images" / "a.png", np.full((48, 64, 3), 128, np.uint8))
    write(tmp_path / "test" / "labels" / "a.png", np.full((48, 64), 3, np.uint8))
    out = tmp_path / "scores.json"
    assert main(["camvid", "--data", str(tmp_path), *CPU, "--input-size", "64x48", "--json", str(out)]) == 0
    content = json.loads(out.read_text())
    absent = content["absent"]
    assert "road" not in absent
    assert sum(absent.values()) > 0, "plain gray is taken for other classes"
    named = ", ".join(f"{name} ({pixels} false pixels)" if pixels else name for name, pixels in absent.items())
    assert f"left out of the means: {named}" in " ".join(capsys.readouterr().out.split())
    assert content["miou"] == content["iou"]["road"]
    assert "NaN" not in out.read_text()


def test_images_of_several_sizes_are_scored_at_their_own(tmp_path: Path, nineteen: Path) -> None:
    classes = yaml.safe_dump(CITYSCAPES.to_dict(), sort_keys=False)
    (tmp_path / "classes.yaml").write_text(classes)
    pixels = 0
    for width, height in ((64, 48), (96, 48), (64, 64), (72, 80)):
        write(tmp_path / "images" / "val" / f"{width}_{height}.png", np.full((height, width, 3), width, np.uint8))
        write(tmp_path / "labels" / "val" / f"{width}_{height}.png", np.full((height, width), 4, np.uint8))
        pixels += width * height
    out = tmp_path / "scores.json"
    command = ["folder", "--data", str(tmp_path), "--checkpoint", str(nineteen), *CPU, "--json", str(out)]
    assert main(command) == 0
    content = json.loads(out.read_text())
    assert np.sum(content["score"]["matrix"]) == pixels
    assert content["provenance"]["split"] == "val"
    assert content["provenance"]["scored_size"] == "4 sizes from 64x48 to 96x48"
    assert content["provenance"]["input_size"] == "64x48, 56x56, 80x40"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kitti"], "kind camvid, cityscapes, folder, got 'kitti'"),
        (["camvid", "--split", "nowhere"], "got 'nowhere'"),
        (["camvid", "--checkpoint", "none.safetensors"], "none.safetensors"),
        (["camvid", "--limit", "0"], "a limit of 1 frame or more, got 0"),
        (["camvid", "--protocol", "kitti"], "a protocol of full, paper, got 'kitti'"),
        (["camvid", "--input-size", "big"], "got 'big'"),
        (["camvid", "--device", "cuda:77"], "cuda:77"),
        (["camvid", "--engine", "steam"], "got 'steam'"),
        (["camvid", "--tta", "--engine", "steam"], "--engine pytorch with --tta, got steam"),
        (["camvid", "--tta", "--tta-scales", "1;2"], "--tta-scales as numbers such as 0.75,1,1.25, got '1;2'"),
        (["camvid", "--tta", "--tta-scales", "9"], "scales from 0.1 to 4, got 9"),
        (
            ["camvid", "--export-server", "server"],
            "classes of cityscapes to export for its server, got the 11 of 'camvid'",
        ),
        (
            ["camvid", "--export-server", "server", "--protocol", "paper"],
            "--protocol full with --export-server, got paper",
        ),
        (["camvid", "--json", "."], "a file to write JSON to, got the folder ."),
        (["camvid", "--json", "file/scores.json"], "can be written to, got 'file': File exists"),
        (["camvid", "--pictures", "file/pictures"], "can be written to, got 'file/pictures'"),
    ],
)
def test_a_mistake_is_answered_in_one_line_before_the_first_frame(
    camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    assert erfnet(["evaluate", *arguments, "--data", str(camvid)]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert "error: " in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_a_checkpoint_of_other_classes_is_refused_with_both_names(cityscapes: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ErfnetError, match="the 19 classes 'cityscapes' of the data set, got one of the 11 classes 'camvid"
    ):
        main(["cityscapes", "--data", str(cityscapes)])
    swapped = ClassSet("camvid", (*CAMVID.names[1:], CAMVID.names[0]), CAMVID.colors, CAMVID.void)
    weights = random_weights(tmp_path / "swapped.safetensors", swapped)
    make = tmp_path / "test"
    write(make / "images" / "a.png", np.zeros((48, 64, 3), np.uint8))
    write(make / "labels" / "a.png", np.zeros((48, 64), np.uint8))
    with pytest.raises(ErfnetError, match="their order differs"):
        main(["camvid", "--data", str(tmp_path), "--checkpoint", str(weights)])


@pytest.mark.skipif(not SHARED_CAMVID.is_dir(), reason="CamVid (../shared/camvid) is absent")
def test_real_frames_score_as_in_a_plain_loop(tmp_path: Path) -> None:
    """The goal's figure is read off this command: it must be that of the weights on the data set."""
    out = tmp_path / "scores.json"
    assert main(["camvid", "--data", str(SHARED_CAMVID), "--limit", "12", *CPU, "--json", str(out)]) == 0
    indices = [(2 * i + 1) * 233 // 24 for i in range(12)]
    expected = direct(SHARED_CAMVID, "camvid", "test", indices, device="cpu", precision="fp32")
    content = json.loads(out.read_text())
    assert content["miou"] == expected.statistics().miou
    assert content["miou"] > 0.4
    assert content["provenance"]["frames"] == "12 of 233, evenly spread"


@pytest.mark.parametrize("outputs", [("--json", "{}/scores.json"), ("--pictures", "{}"), ("--export-server", "{}")])
def test_two_runs_never_write_the_same_outputs(tmp_path: Path, outputs: tuple[str, str]) -> None:
    option, place = outputs[0], Path(outputs[1].format(tmp_path / "out"))
    name = ".scores.json.lock" if option == "--json" else LOCK
    with (
        locked_output_folder(tmp_path / "out", name),
        pytest.raises(ParameterError, match="into which another process writes"),
    ):
        main(["camvid", "--data", str(tmp_path), *CPU, option, str(place)])
