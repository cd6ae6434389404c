"""Architecture rules: imports that point down, sizes of folders, vocabulary, positional parameters."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "erfnet_ros"

LAYERS = (
    {"core"},
    {"models", "data", "visualization"},
    {"inference"},
    {"evaluation"},
    {"training"},
    {"commands"},
    {"ros"},
)
"""From the bottom up. A layer imports only lower ones; a folder may import within itself."""

PARTS = {
    "data": (
        {"label_map", "point_cloud", "synthetic"},
        {"image_files"},
        {"frame_sources"},
        {"bags", "datasets"},
        {"annotations"},
    ),
    "evaluation": (
        {"metadata", "metrics", "settings"},
        {"inputs"},
        {"results"},
        {"thresholds"},
        {"dataset", "offline", "options", "report"},
    ),
    "ros": (
        {"diagnostic_keys", "package_files", "rclpy_compat"},
        {"transport"},
        {"node"},
        {"harness"},
        {"benchmark", "demo", "doctor", "live_evaluation", "points", "view"},
    ),
}
"""The same within a layer, of its folders and modules."""

ROS_PACKAGES = {"ament_index_python", "builtin_interfaces", "launch", "rcl_interfaces", "rclpy"}


def module_name(path: Path) -> str:
    """Return `erfnet_ros.ros.transport` for erfnet_ros/ros/transport.py and `erfnet_ros.ros` for its __init__.py."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(name: str) -> set[str]:
    """Return the dotted names that a module imports anywhere in its text; modules of ours where they are such."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} line {node.lineno}: expected an absolute import, got a relative one"
            source = node.module or ""
            found.update(full if (full := f"{source}.{alias.name}") in MODULES else source for alias in node.names)
    return found


IMPORTS = {name: imports_of(name) for name in MODULES}


def subject(name: str) -> str:
    """Return the module or subpackage right below erfnet_ros, or "" for erfnet_ros itself."""
    return [*name.split("."), ""][1]


def test_every_module_has_a_place_in_the_layers() -> None:
    placed = set().union(*LAYERS)
    assert {subject(name) for name in MODULES} - {""} <= placed, "give the new module its place in LAYERS"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_from_layers_below(name: str) -> None:
    if not subject(name):
        assert not [other for other in IMPORTS[name] if other.startswith("erfnet_ros")]
        return
    height = {member: index for index, layer in enumerate(LAYERS) for member in layer}
    own = subject(name)
    wrong = [
        other
        for other in IMPORTS[name]
        if other in MODULES and subject(other) not in ("", own) and height[subject(other)] >= height[own]
    ]
    assert not wrong, f"{name} points up or sideways to {wrong}"


@pytest.mark.parametrize("layer", PARTS)
def test_the_parts_of_a_layer_import_one_way(layer: str) -> None:
    """Two folders that import each other can only be understood together."""
    height = {part: index for index, parts in enumerate(PARTS[layer]) for part in parts}
    part_of = {name: name.split(".")[2] for name in MODULES if name.startswith(f"erfnet_ros.{layer}.")}
    assert set(part_of.values()) == height.keys(), "give the new module its place in PARTS"
    wrong = [
        (name, other)
        for name, part in part_of.items()
        for other in IMPORTS[name] & part_of.keys()
        if part_of[other] != part and height[part_of[other]] >= height[part]
    ]
    assert not wrong, "these point up or sideways"


@pytest.mark.parametrize("name", [name for name in MODULES if subject(name) != "ros"])
def test_only_the_ros_folder_imports_ros(name: str) -> None:
    """Otherwise a machine without ROS loses more than the node."""
    tops = {other.split(".")[0] for other in IMPORTS[name]}
    assert not {top for top in tops if top in ROS_PACKAGES or top.endswith("_msgs")}
    assert "erfnet_ros.msg" not in IMPORTS[name]


@pytest.mark.parametrize("parts", [3, 9], ids=["folders", "modules"])
def test_imports_run_one_way(parts: int) -> None:
    """Between modules, and between the files and folders right below a layer, such as training/config and loop."""
    graph: dict[str, set[str]] = {}
    for name in MODULES:
        entry, *others = (".".join(each.split(".")[:parts]) for each in (name, *IMPORTS[name] & MODULES.keys()))
        graph.setdefault(entry, set()).update(others)
    for entry, others in graph.items():
        others.discard(entry)
    TopologicalSorter(graph).prepare()  # names the circle in the error that it raises


def test_importing_the_package_is_light() -> None:
    """A tool that only asks for the version must neither wait for torch nor need ROS."""
    program = "import sys, erfnet_ros; print(*{'torch', 'rclpy', 'cv2', 'numpy'} & set(sys.modules))"
    environment = {name: value for name, value in os.environ.items() if name != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=PACKAGE.parent, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_package_offers_segmenter_and_network() -> None:
    import erfnet_ros
    from erfnet_ros import ERFNet, Segmenter
    from erfnet_ros.inference import segmenter
    from erfnet_ros.models import erfnet

    assert (Segmenter, ERFNet) == (segmenter.Segmenter, erfnet.ERFNet)
    assert not hasattr(erfnet_ros, "Segmentor")


def tracked(folder: str) -> list[Path]:
    """Return the files below a folder that git knows, relative to the repository."""
    command = ["git", "ls-files", folder]
    listed = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("needs a git checkout")
    return [Path(line) for line in listed.stdout.splitlines()]


@pytest.mark.parametrize("top", ["erfnet_ros", "test"])
def test_a_listing_of_a_folder_fits_on_a_screen(top: str) -> None:
    entries: dict[Path, set[Path]] = {}
    for path in tracked(top):
        for entry in (path, *path.parents):
            entries.setdefault(entry.parent, set()).add(entry)
    full = {str(folder): len(found) for folder, found in entries.items() if folder.parts and len(found) > 14}
    assert not full, "give the new file a folder of its subject"
    assert len([path for path in tracked("erfnet_ros") if len(path.parts) == 2 and path.suffix == ".py"]) <= 2


def test_the_package_uses_the_words_of_the_field() -> None:
    """A reader searches for frame tracker or ground truth, not for the private names that these once had."""
    names = (
        "keeper lanes rig ledger tally gallery beside standby contestants ReadAhead WorkBehind bag_ahead own_thread "
        "flavour material census rarity spool fates node_under_test complaint health_of journal survey conclusion "
        "flicker facts headlines? first_mask"
    )
    words = re.compile(rf"\b({'|'.join(names.split())})\b|(?<!ground[ _-])(?<![/d])truth(?![|,])", re.IGNORECASE)
    texts = [path for path in tracked("erfnet_ros") if path.suffix not in (".png", ".safetensors")]
    assert not [str(path) for path in texts if words.search((PACKAGE.parent / path).read_text())]


@pytest.mark.parametrize("name", MODULES)
def test_a_call_names_what_its_order_does_not_say(name: str) -> None:
    """Four positional parameters at most. Lightning fixes the hooks' own, Triton the kernels' (`tl.constexpr`)."""
    functions = [node for node in ast.walk(ast.parse(MODULES[name].read_text())) if isinstance(node, ast.FunctionDef)]
    long = [
        node.name
        for node in functions
        if len([each for each in (*node.args.posonlyargs, *node.args.args) if each.arg not in ("self", "cls")]) > 4
        and node.name != "on_train_batch_end"
        and not name.endswith("triton_kernels")
    ]
    assert not long, "make them keyword-only (*), or pass a frozen dataclass"


def test_the_gpu_memory_that_pytorch_caches_is_freed_in_one_place() -> None:
    """Only `free_cached` holds the lock, without which a CUDA graph of another thread may fail meanwhile."""
    callers = [path.name for path in PACKAGE.rglob("*.py") if "torch.cuda.empty_cache" in path.read_text()]
    assert callers == ["cuda.py"]
