"""Build cache: files are found again, shared by processes, and built again when damaged."""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from erfnet_ros.core.errors import EngineError
from erfnet_ros.inference import build_cache
from erfnet_ros.inference.build_cache import Artifact, Cache, cache_folder

KEY: dict[str, str | int | float | None] = {"weights": "abc", "width": 64, "scale": 0.5, "gpu": None}
CONTENT = b"an engine of some size" * 100


class Builder:
    """Write `CONTENT` and count how often."""

    def __init__(self) -> None:
        self.paths: list[Path] = []

    def __call__(self, path: Path) -> dict[str, object]:
        path.write_bytes(CONTENT)
        self.paths.append(path)
        return {"agreement": 0.998, "sizes": (64, 48)}


def get(folder: Path, builder: Builder | None = None, **changes: str | int) -> Artifact:
    return Cache(folder).artifact("engine", {**KEY, **changes}, "plan", build=builder or Builder())


def names(folder: Path) -> list[str]:
    """Return the names of all files but the lock, which stays for the next builder."""
    return sorted(file.name for file in folder.iterdir() if file.suffix != ".lock")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that every user may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def without_the_right_to_write(folder: Path) -> Iterator[None]:
    """Take the right from this user, or be another where this one is root, whom no right stops."""
    with pytest.MonkeyPatch.context() as patch:
        # The other user needs a temporary folder of its own.
        patch.setattr(build_cache, "_temporary_folder", functools.cache(build_cache._temporary_folder.__wrapped__))
        if os.geteuid() == 0:
            os.seteuid(65534)
            try:
                yield
            finally:
                os.seteuid(0)
        else:
            folder.chmod(0o555)
            yield
            folder.chmod(0o755)


@pytest.fixture
def another_process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Yield a process that has begun to build, and says "done" once the file `go` is there and it has built.

    Its two children, one forked and one a program, live until the test ends, as a pool of compilers may.
    """
    program = (
        "import os, subprocess, sys, time\n"
        "from pathlib import Path\n"
        "from test_build_cache import CONTENT, KEY\n"
        "from erfnet_ros.inference.build_cache import Cache\n"
        "folder = Path(sys.argv[1])\n"
        "def build(path):\n"
        "    path.write_bytes(CONTENT[:7])\n"
        "    subprocess.Popen(['cat'], close_fds=False)\n"
        "    if not os.fork():\n"
        "        sys.stdin.read()\n"
        "        os._exit(0)\n"
        "    print('begun', flush=True)\n"
        "    while not (folder / 'go').exists():\n"
        "        time.sleep(0.01)\n"
        "    path.write_bytes(CONTENT)\n"
        "    return {'by': 'another'}\n"
        "Cache(folder).artifact('engine', KEY, 'plan', build=build)\n"
        "print('done', flush=True)\n"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        yield process
        process.kill()


def test_what_was_built_is_found_again_with_its_metadata(tmp_path: Path) -> None:
    builder = Builder()
    first, second = get(tmp_path / "new" / "folder", builder), get(tmp_path / "new" / "folder", builder)
    assert (first.built, second.built, len(builder.paths)) == (True, False, 1)
    assert first.path == second.path
    assert second.path.read_bytes() == CONTENT
    assert first.metadata == second.metadata == {"agreement": 0.998, "sizes": [64, 48]}
    assert first.notes == second.notes == ()


def test_a_builder_that_writes_no_file_has_its_metadata_kept(tmp_path: Path) -> None:
    """A measured choice of engine is a few words, not a file."""
    first, again = (Cache(tmp_path).artifact("choice", KEY, "json", build=lambda _: {"engine": "x"}) for _ in range(2))
    assert (first.built, again.built, again.metadata) == (True, False, {"engine": "x"})
    assert names(tmp_path) == [f"{first.path.name}.metadata.json"]


def test_another_key_is_another_file_whatever_its_order(tmp_path: Path) -> None:
    changes: list[dict[str, str | int]] = [{}, {"width": 65}, {"weights": "abd"}, {"a": 1}]
    assert len({get(tmp_path, **change).path for change in changes}) == 4
    assert not Cache(tmp_path).artifact("engine", dict(reversed(KEY.items())), "plan", build=Builder()).built


DAMAGED_DESCRIPTIONS = ["", "{", "[]", '{"key": 1}', '{"key": {}, "metadata": 3, "size": 4}', "[" * 100_000, "\xff"]


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        *(("", content) for content in (CONTENT[:50], b"", CONTENT[:-1] + b"?", None)),
        *((".metadata.json", text.encode("latin-1")) for text in DAMAGED_DESCRIPTIONS),
        (".metadata.json", None),
    ],
    ids=range(12),
)
def test_what_is_missing_truncated_or_damaged_is_built_again(
    tmp_path: Path, suffix: str, content: bytes | None
) -> None:
    path = get(tmp_path).path
    damaged = Path(f"{path}{suffix}")
    if content is None:
        damaged.unlink()
    else:
        damaged.write_bytes(content)
    assert not Cache(tmp_path).holds("engine", KEY, "plan")
    again = get(tmp_path)
    assert again.built
    (note,) = again.notes
    assert note.startswith(f"{path} was damaged, made for another key, or open to")
    assert path.read_bytes() == CONTENT
    assert not get(tmp_path).built


def test_a_file_of_another_key_is_not_trusted(tmp_path: Path) -> None:
    """Whole by itself, but copied to the wrong name."""
    path, other = get(tmp_path).path, get(tmp_path, weights="other").path
    path.write_bytes(other.read_bytes())
    Path(f"{path}.metadata.json").write_bytes(Path(f"{other}.metadata.json").read_bytes())
    assert get(tmp_path).built


def test_what_a_builder_raises_passes_through_and_leaves_nothing(tmp_path: Path) -> None:
    def fail(path: Path) -> dict[str, object]:
        path.write_bytes(CONTENT)
        raise FileNotFoundError(2, "No such file or directory", "g++")

    with pytest.raises(FileNotFoundError, match=r"g\+\+"):
        Cache(tmp_path).artifact("engine", KEY, "plan", build=fail)
    assert names(tmp_path) == []
    assert get(tmp_path).built


def test_a_discarded_file_is_not_there_and_built_again(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    artifact = cache.artifact("engine", KEY, "plan", build=Builder())
    assert cache.holds("engine", KEY, "plan")
    assert not cache.holds("engine", {**KEY, "another": 1}, "plan")
    cache.discard(artifact)
    assert not cache.holds("engine", KEY, "plan")
    assert names(tmp_path) == []
    assert cache.artifact("engine", KEY, "plan", build=Builder()).built


def test_the_twenty_last_used_of_a_kind_stay(tmp_path: Path) -> None:
    now = time.time()
    for width in range(25):
        sidecar = Path(f"{get(tmp_path, width=width).path}.metadata.json")
        os.utime(sidecar, (now - 1000 + width, now - 1000 + width))
    other = Cache(tmp_path).artifact("engine-int8", KEY, "plan", build=Builder())
    assert not get(tmp_path, width=5).built  # the oldest that is left, now used again
    get(tmp_path, width=25)
    assert not get(tmp_path, width=5).built
    assert len(list(tmp_path.glob("engine-????????????????.plan"))) == 20
    assert len(list(tmp_path.glob("engine-????????????????.plan.metadata.json"))) == 20
    assert other.path.exists()
    assert get(tmp_path, width=6).built


def test_of_two_processes_one_builds_and_the_other_takes_the_result(
    tmp_path: Path, another_process: subprocess.Popen[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    builder = Builder()

    class Go(logging.Handler):
        """Let the other process finish once this one waits for it."""

        def emit(self, record: logging.LogRecord) -> None:
            (tmp_path / "go").touch()

    handler = Go()
    build_cache.log.addHandler(handler)
    try:
        artifact = get(tmp_path, builder)
    finally:
        build_cache.log.removeHandler(handler)
    assert not artifact.built
    assert builder.paths == []
    assert artifact.metadata == {"by": "another"}
    assert artifact.path.read_bytes() == CONTENT
    assert "waiting for it" in caplog.text
    assert another_process.wait(20) == 0
    assert names(tmp_path) == [artifact.path.name, f"{artifact.path.name}.metadata.json", "go"]


@pytest.mark.timeout(60)
def test_a_builder_that_is_killed_leaves_neither_a_lock_nor_half_a_file(
    tmp_path: Path, another_process: subprocess.Popen[str]
) -> None:
    another_process.send_signal(signal.SIGKILL)
    another_process.wait(20)
    artifact = get(tmp_path)
    assert artifact.built
    assert artifact.path.read_bytes() == CONTENT
    assert names(tmp_path) == [artifact.path.name, f"{artifact.path.name}.metadata.json"]


def test_a_folder_without_the_right_to_write_still_serves_what_is_in_it(open_folder: Path) -> None:
    get(open_folder)
    with without_the_right_to_write(open_folder):
        artifact = get(open_folder)
        assert (artifact.built, artifact.path.parent, artifact.notes) == (False, open_folder, ())


def test_a_folder_that_cannot_be_written_is_noted_and_replaced(open_folder: Path) -> None:
    builder = Builder()
    with without_the_right_to_write(open_folder):
        first, second = get(open_folder, builder), get(open_folder, builder)
        (note,) = first.notes
        assert first.path.read_bytes() == CONTENT
    assert note == (
        f"The cache folder {open_folder} cannot be used (Permission denied), so what is built lasts for this run only; "
        "make room or give rights there, or name another folder: ERFNET_ROS_CACHE=FOLDER."
    )
    assert (first.built, second.built, second.notes) == (True, False, (note,))
    assert first.path.parent != open_folder
    assert names(open_folder) == []


def test_a_bad_file_that_cannot_be_removed_is_not_offered_again(open_folder: Path) -> None:
    get(open_folder)
    with without_the_right_to_write(open_folder):
        folder = Cache(open_folder)
        for _ in range(2):
            folder.discard(folder.artifact("engine", KEY, "plan", build=Builder()))
        again = folder.artifact("engine", KEY, "plan", build=Builder())
        assert again.built
        assert "cannot be used (Permission denied)" in again.notes[0]


FULL = """
import json, sys
from pathlib import Path
from erfnet_ros.inference.build_cache import Cache

def build(path):
    path.write_bytes(bytes(200_000))
    return {}

artifact = Cache(Path(sys.argv[1])).artifact("engine", {}, "plan", build=build)
print(json.dumps([str(artifact.path), artifact.path.stat().st_size, *artifact.notes]))
"""


@pytest.mark.parametrize("which", ["", "plan", "plan.metadata.json"], ids=["folder", "file", "description"])
@pytest.mark.parametrize("how", ["another's", "group may write", "all may write"])
def test_what_another_user_could_have_planted_is_not_used(tmp_path: Path, which: str, how: str) -> None:
    """An engine is code, and whoever plants one can write its checksum too."""
    folder = tmp_path / "cache"
    planted = get(folder).path
    path = next(file for file in folder.iterdir() if file.name.endswith(which)) if which else folder
    if how == "another's":
        if os.geteuid() != 0:
            pytest.skip("only root gives files away")
        os.chown(path, 65534, -1)
    else:
        path.chmod(path.stat().st_mode | (0o020 if how == "group may write" else 0o002))
    found = get(folder, builder := Builder())
    assert found.built
    assert len(builder.paths) == 1
    if which:
        assert "open to changes by other users, so it was built again" in found.notes[0]
        assert get(folder).built is False, "what was built again is used"
    else:
        assert found.path != planted
        causes = "cache belongs to another user|other users may write cache: chmod go-w"
        assert re.search(rf"cannot be used \(({causes})", found.notes[0])


def test_what_is_built_is_open_to_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        get(tmp_path / "cache")
    finally:
        os.umask(before)
    assert get(tmp_path / "cache").built is False


def test_a_disk_that_fills_up_is_replaced_by_a_temporary_folder(tmp_path: Path) -> None:
    """A real one: a file system of 64 kB, mounted where only the process in it sees it."""
    mount = 'mount -t tmpfs -o size=64k,mode=755 none "$0" && "$@"'
    mounted = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        subprocess.run([*mounted, str(tmp_path), "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this machine lets nobody mount a small file system: {error}")
    command = [*mounted, str(tmp_path), sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    path, size, note = json.loads(done.stdout)
    assert size == 200_000
    assert not path.startswith(str(tmp_path))
    assert note.startswith(f"The cache folder {tmp_path} cannot be used (No space left on device)")
    assert not Path(path).exists(), "the temporary folder ends with its process"


def test_no_room_to_build_is_an_error(tmp_path: Path) -> None:
    def full(path: Path) -> dict[str, object]:
        with Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"x")
        return {}

    expected = r"Expected room to build engine-\w+\.plan in .*, got: No space left on device; .*TMPDIR="
    with pytest.raises(EngineError, match=expected):
        Cache(tmp_path).artifact("engine", KEY, "plan", build=full)
    assert names(tmp_path) == []


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/robot")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.delenv("ERFNET_ROS_CACHE", raising=False)
    assert cache_folder() == Path("/home/robot/.cache/erfnet_ros")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert cache_folder() == Path("/var/cache/erfnet_ros")
    monkeypatch.setenv("ERFNET_ROS_CACHE", "~/engines")
    assert cache_folder() == Path("/home/robot/engines")
    assert Cache().folder == Path("/home/robot/engines")
