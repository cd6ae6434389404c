"""The `erfnet` command line: standard output, exit codes, and errors in one line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from erfnet_ros import __version__
from erfnet_ros.commands import cli
from erfnet_ros.core.array_types import VOID
from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.inference.engine import PRECISIONS
from erfnet_ros.inference.factory import ENGINES
from erfnet_ros.models.checkpoint import load
from erfnet_ros.models.erfnet import ERFNet

WITHOUT = """
import sys
sys.modules["{}"] = None
from erfnet_ros.commands import cli
sys.exit(cli.main(sys.argv[1:]))
"""
"""Program that is `erfnet` where a library is missing."""

RGB = Street(seed=1, size=(160, 120)).frame(0)[0]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "street.png"
    cv2.imwrite(str(path), RGB[..., ::-1])
    return path


def test_one_bad_file_is_named_and_the_others_are_done(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    assert cli.main(["segment", str(bad), str(picture), "-o", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert captured.err.endswith(
        f"skipped an image: Expected an image in '{bad}', got 10 bytes that cannot be decoded; delete or replace it.\n"
    )
    assert "1 of 2 images segmented" in captured.out
    assert (tmp_path / "out" / "street_mask.png").exists()


def test_the_threshold_makes_unsure_pixels_void(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert cli.main(["segment", str(picture), "-o", str(out), "--threshold", "0.9"]) == 0
    mask = cv2.imread(str(out / "street_mask.png"), cv2.IMREAD_UNCHANGED)
    confidence = cv2.imread(str(out / "street_confidence.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask == VOID, confidence < 0.9 * 255)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("segment nowhere.png", "Expected an image or a folder of images at nowhere.png, got no such file"),
        ("segment .", "Expected images"),
        ("segment PICTURE --threshold 2", "Expected --threshold from 0 to 1, got 2.0"),
        ("segment PICTURE --input-size 0", "got '0'"),
        ("segment PICTURE --checkpoint none.safetensors", "none.safetensors"),
        ("segment PICTURE --engine caffe", "got 'caffe'"),
        ("segment PICTURE --device cuda:9", "'cuda:9'"),
        ("import-weights none.pth", "Expected a .pth or .pth.tar file at none.pth"),
        ("import-weights none.pth --classes kitti", "as class set, got 'kitti'"),
        ("import-weights none.pth --input-size auto", "Expected --input-size WIDTHxHEIGHT, got auto"),
        ("import-weights none.pth --input-size 1024", "got '1024'"),
        ("import-weights none.pth --miou 71.5", "Expected --miou from 0 to 1, got 71.5"),
        ("import-weights none.pth --miou nan", "got nan"),
    ],
)
def test_an_error_is_one_line_with_the_value_and_nothing_is_written(
    picture: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    message: str,
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert cli.main([*command.replace("PICTURE", str(picture)).split(), "-o", "out"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("erfnet: error: ")
    assert message in error
    assert "Traceback" not in error
    assert not list(Path().iterdir())


NO_IMAGES = "in 'empty', found none."
NO_SOURCE = "'synthetic:SEED', a folder of images or a video file, got 'missing', which does not exist; check the path."
NO_BAG = "Expected a bag (a rosbag2 folder, .mcap or .db3), got 'missing', which does not exist; check the path."
TEXT = "text.safetensors is not a checkpoint: it is truncated or of another kind"
NO_CHECKPOINT = "Expected a checkpoint (.safetensors) at missing.safetensors, got no such file"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("evaluate camvid --data missing", "a camvid data set at 'missing', got no such folder; check the path."),
        ("evaluate camvid --data empty", "Expected CamVid in 'empty': train/images and train/labels"),
        ("evaluate kitti --data empty", "Expected a data set of kind camvid, cityscapes, folder, got 'kitti'"),
        ("data check missing", "Expected the folder of a data set at 'missing', got no such folder; check the path."),
        ("data check street.png", "Expected the folder of a data set at 'street.png', got a file; check the path."),
        ("train camvid --data missing --out run", "a camvid data set at 'missing', got no such folder"),
        ("train camvid --data empty --out run --recipe fast", "or a YAML file as recipe, got 'fast', which does not"),
        ("train camvid --data empty --out run --recipe bad.yaml", "Expected YAML in bad.yaml, got: "),
        ("export missing.safetensors -o out.onnx", NO_CHECKPOINT),
        ("calibrate text.safetensors --images . -o out.safetensors", TEXT),
        ("bag make missing -o bag", NO_SOURCE),
        ("bag make empty -o bag", NO_IMAGES),
        ("bag make text.mp4 -o bag", "Expected a video, got no frame out of 'text.mp4'; see whether another program"),
        ("bag make street.png -o bag", "Expected a folder or a video, got the single image 'street.png'; name its"),
        ("bag info missing", NO_BAG),
        ("bag info empty", "got 'empty', which has no .mcap or .db3 either."),
        ("evaluate-bag missing -o report", NO_BAG),
        ("evaluate-bag street.png -o report", "got the file 'street.png'"),
        ("benchmark --data missing", NO_SOURCE),
        ("benchmark --sizes large", "Expected --sizes to be different sizes such as 640x480,1920x1080, got 'large'."),
        ("build-engine --checkpoint text.safetensors", TEXT),
        ("demo --source empty --out demo", NO_IMAGES),
        ("import-weights street.png -o out.safetensors", "street.png was refused: it is damaged, or holds more than"),
    ],
)
def test_wrong_input_is_named_with_what_to_do(
    picture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    if arguments.startswith("demo"):
        pytest.importorskip("rclpy")
    monkeypatch.chdir(picture.parent)
    Path("empty").mkdir()
    for name in ("text.safetensors", "text.mp4"):
        Path(name).write_text("hello")
    Path("bad.yaml").write_text("a: [1")
    assert cli.main(arguments.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("erfnet: error: ")
    assert message in error
    assert error.count("\n") == 1


def test_the_authors_weights_become_a_checkpoint_that_segments(picture: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    source, out = tmp_path / "erfnet.pth", tmp_path / "own.safetensors"
    torch.save({f"module.{name}": tensor for name, tensor in ERFNet(20).state_dict().items()}, source)
    assert cli.main(["import-weights", str(source), "-o", str(out), "--input-size", "160x120"]) == 0
    assert cli.main(["segment", str(picture), "-o", str(tmp_path / "out"), "--checkpoint", str(out)]) == 0


def test_what_is_known_of_imported_weights_is_kept(tmp_path: Path) -> None:
    source, out = tmp_path / "own.pth", tmp_path / "own.safetensors"
    torch.save(ERFNet(11).state_dict(), source)
    known = ["--data", "our yard", "--license", "ours", "--miou", "0.5", "--input-size", "64x48"]
    assert cli.main(["import-weights", str(source), "-o", str(out), "--classes", "camvid", *known]) == 0
    loaded = load(out)
    assert loaded.class_set == CAMVID
    assert (loaded.data, loaded.license, loaded.miou, loaded.input_size) == ("our yard", "ours", 0.5, (64, 48))


@pytest.mark.parametrize("command", ["demo", "benchmark --node"])
def test_commands_that_need_ros_say_so_where_it_is_missing(command: str) -> None:
    """Without ROS the rest of the command works, and these two explain themselves."""
    code = (
        "import sys; sys.modules['rclpy'] = None; from erfnet_ros.commands import cli; sys.exit(cli.main(sys.argv[1:]))"
    )
    done = subprocess.run([sys.executable, "-c", code, *command.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"erfnet: error: 'erfnet {command}' cannot import 'rclpy'; it needs ROS 2")
    assert "source ROS 2 and the workspace, or use 'make demo'" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("library", "arguments"),
    [("lightning", ["train", "folder", "--data", "DATA", "--out", "run"]), ("onnx", ["export", "-o", "out.onnx"])],
)
def test_commands_that_need_the_training_extra_say_so_where_it_is_missing(
    tmp_path: Path, library: str, arguments: list[str]
) -> None:
    """`pip install .` leaves these libraries out: who trains learns from the command what else to install."""
    code = WITHOUT.format(library)
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("erfnet: error: ")
    assert f"'{library}'" in done.stderr or f"'{library}." in done.stderr
    assert "pip install 'erfnet_ros[training]'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["demo", "benchmark"])
def test_options_of_demo_and_benchmark_are_their_own(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rclpy")
    pytest.importorskip("erfnet_ros.msg")
    with pytest.raises(SystemExit) as left:
        cli.main([command, "--help"])
    assert left.value.code == 0
    assert f"erfnet {command}" in capsys.readouterr().out


def test_without_arguments_every_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    printed = capsys.readouterr().out
    for name in ("segment", "train", "evaluate", "evaluate-bag", "export", "demo", "benchmark"):
        assert re.search(rf"^    {name} +\w", printed, re.MULTILINE), printed


@pytest.mark.parametrize("command", ["segment", "evaluate", "evaluate-bag"])
def test_every_engine_and_precision_is_named_in_the_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    printed = capsys.readouterr().out
    assert [name for name in (*ENGINES, *PRECISIONS) if name not in printed] == []


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [("--version", __version__), ("bag make --help", "usage: erfnet bag make"), ("evaluate --help", "--export-server")],
)
def test_help_and_version_do_not_wait_for_heavy_libraries(arguments: str, shown: str) -> None:
    """A terminal that hangs for seconds on --help feels broken."""
    code = "import sys; from erfnet_ros.commands import cli\ntry: cli.main(sys.argv[1:])\nexcept SystemExit: pass\n"
    code += "print(*{'torch', 'cv2', 'rich', 'rosbags'} & set(sys.modules))"
    command = [sys.executable, "-c", code, *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown in done.stdout
    assert done.stdout.splitlines()[-1] == ""
