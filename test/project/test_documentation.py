"""Command blocks of the documentation, run as they are written, page by page in a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from support.small_datasets import frame, make_camvid, make_cityscapes, make_folder, make_labelme, write

from erfnet_ros.core.array_types import VOID
from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.models.checkpoint import DEFAULT

ROOT = Path(__file__).resolve().parents[2]
PAGES = [str(path.relative_to(ROOT)) for folder in (ROOT, ROOT / "docs") for path in sorted(folder.glob("*.md"))]

SHORTER = {
    # Recipes take hours, and the whole benchmark minutes.
    r"erfnet train (?!.* finetune)(\w+)": r"erfnet train \1 --batch-size 1 --epochs 3",
    r"--recipe finetune": "--recipe finetune --batch-size 1 --steps 1",
    r"erfnet benchmark": "erfnet benchmark --quick --runs 1 --sizes 64x48 --engines pytorch:fp32",
    r"pytorch:bf16,onnxruntime": "pytorch:bf16",
    r"--frames 100": "--frames 4",
    # How fast this machine is, is not tested.
    r"latency_p99<=0.100 dropped<=0.02": "latency_p99<=60 dropped<=1",
    # The tests run in an environment that has the package.
    r"pip install \..*": "true",
}
"""Regular expressions in the commands, and what is run in their place."""

FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>.+?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$"
    r"(?:\n\n^```\n(?P<output>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
"""A block with the reason why it is not run, if any, and the output that follows it."""


@dataclass(frozen=True)
class Block:
    """A fenced block: the language as it stands behind the fence, and the output that the page promises."""

    where: str
    language: str
    text: str
    output: str
    reason: str

    def commands(self) -> list[list[str]]:
        """Return the command lines that run the block; none for a figure."""
        text = self.text
        if self.language == "python":
            return [[sys.executable, "-c", text]]
        if self.language == "yaml":
            jobs = yaml.safe_load(text).get("jobs", {}).values()
            text = "\n".join(step["run"] for job in jobs for step in job["steps"] if "run" in step)
        if self.language not in ("bash", "yaml") or not text:
            return []
        for pattern, replacement in SHORTER.items():
            text = re.sub(pattern, replacement, text)
        return [["bash", "-euo", "pipefail", "-c", text]]


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page in order."""
    text = (ROOT / page).read_text()
    return [
        Block(
            f"{page}:{text.count(chr(10), 0, found.start('language')) + 1}",
            *(found[name] or "" for name in ("language", "text", "output", "reason")),
        )
        for found in FENCE.finditer(text)
    ]


RUN = [page for page in PAGES if any(block.commands() and not block.reason for block in blocks(page))]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_or_says_why_not(page: str) -> None:
    text = (ROOT / page).read_text()
    assert text.count("\n```") == sum(4 if block.output else 2 for block in blocks(page)), "a block is not recognized"
    figures = ("mermaid", "text")
    silent = [b.where for b in blocks(page) if not (b.commands() or b.reason or b.language in figures)]
    assert not silent, f"expected commands, their output below them, a figure or a reason: {silent}"
    outside = FENCE.sub("", text)
    assert not re.search(r"\n\n {4,}\S", outside), "an indented block is not run: put it between ``` fences"
    assert "\n<!-- not run" not in outside, "a reason stands right above the block"


def test_every_shortening_is_used() -> None:
    text = "".join(block.text for page in PAGES for block in blocks(page) if not block.reason)
    assert [pattern for pattern in SHORTER if not re.search(pattern, text)] == []


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the folder that the pages' examples start from."""
    root = tmp_path_factory.mktemp("examples")
    frames = {"train": 2, "val": 1}
    make_camvid(root / "camvid", frames)
    street = Street(7, (480, 360))
    for index in range(3):
        rgb, labels = street.frame(index)
        write(root / "camvid" / "test" / "images" / f"{index}.png", rgb)
        labels[labels == VOID] = CAMVID.void
        write(root / "camvid" / "test" / "labels" / f"{index}.png", labels)
    make_cityscapes(root / "cityscapes", {**frames, "test": 1})
    make_folder(root / "yard", {"": 4})
    make_labelme(root / "labelme_export", {"train": 3, "val": 1})
    write(root / "street.jpg", frame(0)[0])
    shutil.copy(DEFAULT, root / "yard.safetensors")
    (root / "tools").symlink_to(ROOT / "tools")
    return root


def run(page: str, folder: Path) -> None:
    """Run the blocks of a page and compare what it promises of them."""
    # Each command takes a ROS domain of its own.
    left_out = ("ROS_DOMAIN_ID", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    # Compiling the network of a recipe would take a minute, and two pages run at once.
    environment |= {"TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    environment["GITHUB_STEP_SUMMARY"] = str(folder / "summary.md")
    for block in blocks(page):
        for command in [] if block.reason else block.commands():
            # A workflow runs in a checkout of its own.
            place = folder / "workflow" if block.language == "yaml" else folder
            place.mkdir(exist_ok=True)
            done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
            said = f"{block.where} ended with {done.returncode}:\n{command[-1]}\n{done.stdout}{done.stderr}"
            assert done.returncode == 0, said
            lines = iter(line.strip() for line in done.stdout.splitlines())
            for promised in block.output.splitlines():
                assert promised.partition("#")[0].strip() in lines, f"no line '{promised}' from {said}"
            for name in re.findall(r"#.*?(\w+\.(?:html|json|md))\b", block.text):
                assert list(place.rglob(name)), f"no file {name} from {said}"


@pytest.fixture(scope="module")
def runs(
    examples: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[None]]]:
    """Start the pages that were chosen, two at once: most of the time goes into imports on one core."""
    if shutil.which("erfnet") is None:
        pytest.skip("needs the installed command: . install/local_setup.bash")
    pytest.importorskip("rclpy")
    pytest.importorskip("lightning")
    test = test_the_commands_of_a_page_do_what_it_says.__name__
    selected = {item.name for item in request.session.items}
    chosen = [page for page in RUN if f"{test}[{page}]" in selected]
    with ThreadPoolExecutor(2) as pool:
        folders = [shutil.copytree(examples, tmp_path_factory.mktemp("page") / "folder", symlinks=True) for _ in chosen]
        yield {page: pool.submit(run, page, folder) for page, folder in zip(chosen, folders, strict=True)}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", RUN)
def test_the_commands_of_a_page_do_what_it_says(page: str, runs: dict[str, Future[None]]) -> None:
    runs[page].result()
