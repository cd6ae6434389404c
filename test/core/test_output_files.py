"""Locks of output folders, and files that are complete or not there."""

from __future__ import annotations

import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from erfnet_ros.core.errors import OutputError, ParameterError
from erfnet_ros.core.output_files import atomic_output, locked_output_folder, write_file

_HOLD = """
import sys
from pathlib import Path
from erfnet_ros.core.output_files import locked_output_folder

with locked_output_folder(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_is_refused_until_the_first_is_gone_even_if_killed(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    command = [sys.executable, "-c", _HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "locked\n"
        with pytest.raises(ParameterError, match=r"no other run uses, got '.*out', into which another process writes"):
            locked_output_folder(folder).__enter__()
        with locked_output_folder(folder, "other"):
            pass
        first.kill()
    with locked_output_folder(folder):
        pass
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ParameterError, match=r"can be written to, got '.*file/out': Not a directory"):
        locked_output_folder(tmp_path / "file" / "out").__enter__()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    with suppress(KeyboardInterrupt), atomic_output(path) as partial:
        partial.write_text("ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    with atomic_output(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_up_leaves_no_part_of_a_file(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputError, match=r"Cannot write '.*a\.onnx': File too large; free some space"):
            write_file(tmp_path / "a.onnx", bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("place", "problem"), [("missing/a.txt", "No such file"), (".", "Is a directory")])
def test_a_file_that_has_no_place_is_an_error_with_its_path(tmp_path: Path, place: str, problem: str) -> None:
    with pytest.raises(OutputError, match=rf"Cannot write '.*': {problem}.*; .* choose another folder"):
        write_file(tmp_path / place, "text")
