"""Recordings of `erfnet view`: every frame with its mask, scores and moment, in a file or on a page."""

from __future__ import annotations

import socket
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.evaluation_samples import changed, write_bag
from support.small_datasets import make_folder

from erfnet_ros.commands.view import main
from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.core.errors import OutputError, SourceError
from erfnet_ros.data.frame_sources import open_source
from erfnet_ros.inference.segmenter import Segmenter

pytest.importorskip("rerun.chunk", reason="rerun-sdk is not installed")

ENGINE = ("--engine", "pytorch", "--precision", "fp32")

Rows = dict[str, list[dict[str, Any]]]
"""What was logged on each entity: component name to value."""


def rows_of(recording: Path) -> Rows:
    from rerun.chunk import RrdReader

    rows: Rows = defaultdict(list)
    for chunk in RrdReader(recording).stream():
        batch = chunk.to_record_batch()
        # Times as nanoseconds: datetime ends at microseconds.
        columns = [
            [cell.value if hasattr(cell, "value") else cell.as_py() for cell in column] for column in batch.columns
        ]
        rows[chunk.entity_path] += [
            dict(zip(batch.schema.names, row, strict=True)) for row in zip(*columns, strict=True)
        ]
    return rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("folder"), {"": 3})


def test_every_frame_of_a_folder_is_there_with_mask_and_score(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "view.rrd"
    assert main([str(folder), "--out", str(out), *ENGINE]) == 0
    rows = rows_of(out)
    segmenter = Segmenter(engine="pytorch", precision="fp32")
    source = open_source(str(folder), CAMVID)
    for index, frame in enumerate(source):
        assert frame.ground_truth is not None
        labels = segmenter(frame.rgb).labels
        (mask,) = (row for row in rows["/camera/mask"] if row.get("frame") == index)
        assert bytes(mask["SegmentationImage:buffer"][0]) == labels.tobytes()
        (accuracy,) = (row for row in rows["/accuracy/pixels"] if row.get("frame") == index)
        known = frame.ground_truth != 255
        assert accuracy["Scalars:scalars"][0] == pytest.approx(np.mean(labels[known] == frame.ground_truth[known]))
        (share,) = (row for row in rows["/shares/road"] if row.get("frame") == index)
        assert share["Scalars:scalars"][0] == pytest.approx(np.mean(labels == CAMVID.names.index("road")))
    for entity in ("/camera/image", "/confidence", "/ground_truth/labels", "/errors", "/latency/inference"):
        assert [row["frame"] for row in rows[entity] if "frame" in row] == [0, 1, 2]


def test_a_bag_is_shown_by_its_stamps_and_a_broken_image_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shots = changed(lambda index, shot: {"broken": index == 1})[:4]
    bag = write_bag(tmp_path / "bag", shots)
    out = tmp_path / "view.rrd"
    assert main([str(bag), "--out", str(out), *ENGINE]) == 1
    rows = rows_of(out)
    stamps_ns = sorted(row["stamp"] for row in rows["/camera/mask"])
    assert stamps_ns == [shots[index].stamp_ns for index in (0, 2, 3)]
    (fault,) = rows["/faults"]
    assert fault["TextLog:text"][0].startswith("Frame 1: ")
    assert "3 of 4 frames shown" in capsys.readouterr().out


def test_what_cannot_be_shown_is_said_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="which does not exist"):
        main([str(tmp_path / "nowhere"), "--out", str(tmp_path / "view.rrd"), *ENGINE])
    with pytest.raises(OutputError, match="choose another file with --out"):
        main([str(folder), "--out", str(tmp_path / "missing" / "view.rrd"), *ENGINE])
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OutputError, match=f"Cannot serve on port {port}: .*choose another with --port"):
            main([str(folder), "--port", str(port), *ENGINE])
    assert not list(tmp_path.iterdir())
