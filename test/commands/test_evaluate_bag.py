"""`erfnet evaluate-bag`: files, exit codes, and errors in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.evaluation_samples import FRAMES, GROUND_TRUTH_TOPIC, shots, write_bag

from erfnet_ros.commands import cli
from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.data.frame_sources import open_source
from erfnet_ros.evaluation.metrics.segmentation_score import Score
from erfnet_ros.evaluation.results.result import Result
from erfnet_ros.inference.segmenter import Segmenter

CAMVID_TEST = Path(__file__).resolve().parents[3] / "shared" / "camvid" / "test"
FAST = ("--input-size", "96x72", "--precision", "fp32")


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "drive", shots())


def run(*arguments: str | Path) -> int:
    return cli.main(["evaluate-bag", *map(str, arguments)])


def test_a_run_writes_its_report_and_the_gate_decides_the_exit_status(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(bag, "-o", tmp_path / "one", *FAST, "--require", "miou>=0.1 rejected==0") == 0
    printed = capsys.readouterr().out
    result = Result.read(tmp_path / "one")
    assert f"mIoU          {100 * (result.miou or 0):.2f} % over {FRAMES} images" in printed
    assert "require       miou>=0.1: passed, got 0." in printed
    assert {"result.json", "report.html", "report.md", "frames"} == {file.name for file in (tmp_path / "one").iterdir()}
    assert result.provenance.command.startswith("erfnet evaluate-bag ")
    assert len(result.provenance.checkpoint_sha256) == 64
    assert json.loads((tmp_path / "one" / "result.json").read_text())["miou"] == result.miou

    thresholds = ("--require", "miou>=0.99 latency_p99<=0.1", "--compare", tmp_path / "one")
    assert run(bag, "-o", tmp_path / "two", *FAST, *thresholds) == 1
    printed = capsys.readouterr().out
    assert "require       miou>=0.99: failed, got 0." in printed
    assert "latency_p99<=0.1: failed, there is no latency_p99 in offline mode; run with --live" in printed
    assert (tmp_path / "two" / "report.html").is_file(), "a red build needs the report most"


def test_two_bags_of_one_name_in_two_processes_make_one_report_and_two_output_bags(bag: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / bag.name
    write_bag(other, shots()[:4])
    assert run(bag, other, "-o", tmp_path / "out", *FAST, "--jobs", "2", "--output-bag") == 0
    result = Result.read(tmp_path / "out")
    assert [(bag.name, bag.frames) for bag in result.bags] == [("drive", FRAMES), ("drive", 4)]
    assert {folder.name for folder in (tmp_path / "out" / "bags").iterdir()} == {"drive", "drive_2"}


def not_a_bag(folder: Path) -> Path:
    (folder / "notes.txt").write_text("hello")
    return folder / "notes.txt"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("{bag}", "-o", "{out}", "--image-topic", "/camera/image"), "did you mean '/camera/image_raw'?"),
        (("{bag}", "-o", "{out}", "--ground-truth-topic", "/camera/info"), "which has none of that name"),
        (("{bag}", "-o", "{out}", "--require", "speed>3"), "got 'speed'"),
        (("{bag}", "-o", "{out}", "--require", "iou.tram>0.1"), "got 'iou.tram'"),
        (("{bag}", "-o", "{out}", "--compare", "{text}"), "Expected JSON in the result"),
        (("{bag}", "-o", "{out}", "--tolerance", "2"), "--tolerance from 0 to 1 seconds, got 2"),
        (("{bag}", "-o", "{out}", "--threshold", "1.5"), "--threshold from 0 to 1, got 1.5"),
        (("{bag}", "-o", "{out}", "--jobs", "0"), "--jobs of 1 or more, got 0"),
        (("{bag}", "-o", "{out}", "--jobs", "2", "--dask", "tcp://x:1"), "Expected --jobs or --dask, got both"),
        (("{bag}", "-o", "{out}", "--checkpoint", "missing.safetensors"), "Expected a checkpoint"),
        (("{bag}", "-o", "{out}", "--ground-truth-dir", "{missing}"), "Expected a folder of images"),
        (("{bag}", "{bag}", "-o", "{out}"), "Expected each bag once"),
        (("{bag}", "-o", "{text}/out"), "an output folder that can be written to"),
        (("{text}", "-o", "{out}"), "Expected a bag"),
        (("{missing}", "-o", "{out}"), "which does not exist"),
    ],
)
def test_bad_input_is_one_line_and_exit_status_2(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], problem: str
) -> None:
    places = {"bag": bag, "out": tmp_path / "out", "text": not_a_bag(tmp_path), "missing": tmp_path / "missing"}
    assert run(*(argument.format(**places) for argument in arguments)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("erfnet: error: ") or line.startswith("erfnet evaluate-bag: error: ")
    assert problem in line
    assert not (tmp_path / "out" / "result.json").exists()


def test_a_truncated_bag_is_evaluated_as_far_as_it_is_whole_and_says_so(bag: Path, tmp_path: Path) -> None:
    cut = shutil.copytree(bag, tmp_path / "cut")
    (storage,) = cut.glob("*.mcap")
    storage.write_bytes(storage.read_bytes()[: storage.stat().st_size * 2 // 3])
    assert run(cut, "-o", tmp_path / "out", *FAST, "--ground-truth-topic", GROUND_TRUTH_TOPIC) == 0
    result = Result.read(tmp_path / "out")
    assert 0 < result.frames.scored < FRAMES
    assert result.bags[0].faults
    assert any(fault.rstrip(".") in note for fault in result.bags[0].faults for note in result.notes)


@pytest.mark.skipif(not CAMVID_TEST.is_dir(), reason="needs CamVid next to the checkout")
def test_camvid_from_a_bag_scores_what_it_scores_from_its_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The shipped weights at full size, through `erfnet bag make`: no step on the way may change a pixel."""
    for part in ("images", "labels"):
        (tmp_path / "few" / part).mkdir(parents=True)
        for file in sorted((CAMVID_TEST / part).iterdir())[::60]:
            (tmp_path / "few" / part / file.name).symlink_to(file)
    assert cli.main(["bag", "make", str(tmp_path / "few"), "-o", str(tmp_path / "bag")]) == 0
    assert run(tmp_path / "bag", "-o", tmp_path / "out") == 0
    segmenter = Segmenter()
    frames = open_source(str(tmp_path / "few"), CAMVID)
    direct = Score(CAMVID, boundaries=False)
    for frame in frames:
        assert frame.ground_truth is not None
        said = segmenter(frame.rgb)
        direct.add(frame.ground_truth, said.labels, said.confidence)
    score = Result.read(tmp_path / "out").score
    assert score is not None
    assert score.frames == len(frames)
    assert score.statistics().miou == pytest.approx(direct.statistics().miou, abs=1e-4)
