"""`erfnet classes`: the printed class ids, names and colors."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import pytest

from erfnet_ros.commands import cli
from erfnet_ros.core.class_set import CAMVID, CITYSCAPES, ClassSet
from erfnet_ros.models.checkpoint import DEFAULT


def test_yaml_is_a_class_set_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["classes", "cityscapes", "--yaml"]) == 0
    (tmp_path / "classes.yaml").write_text(capsys.readouterr().out)
    assert ClassSet.from_yaml(tmp_path / "classes.yaml") == CITYSCAPES


def test_csv_has_the_columns_of_kimera_and_hydra_and_a_row_for_each_value_of_a_mask(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Kimera-Semantics and Hydra read name,red,green,blue,alpha,id."""
    assert cli.main(["classes", str(DEFAULT), "--csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "name,red,green,blue,alpha,id"
    rows = list(csv.DictReader(lines))
    assert [(row["name"], row["id"]) for row in rows] == [(n, str(i)) for i, n in enumerate(CAMVID.names)] + [
        ("void", "255")
    ]
    assert [tuple(int(row[c]) for c in ("red", "green", "blue")) for row in rows[:-1]] == list(CAMVID.colors)


def test_table_and_legend_show_every_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["classes"]) == 0
    table = capsys.readouterr().out
    assert all(f"{i:>3}  {name}" in table for i, name in enumerate(CAMVID.names))
    assert cli.main(["classes", "--legend", str(tmp_path / "legend.png")]) == 0
    picture = cv2.imread(str(tmp_path / "legend.png"))[..., ::-1]
    assert set(CAMVID.colors) <= set(map(tuple, picture.reshape(-1, 3).tolist()))


@pytest.mark.parametrize("content", [b"", b"\x02\0\0\0\0\0\0\0{}", b"GIF89a"])
def test_a_file_that_is_no_checkpoint_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    assert cli.main(["classes", str(path)]) == 2
    assert "Expected a checkpoint of this package as class set" in capsys.readouterr().err
