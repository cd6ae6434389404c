"""Count which changes of single expressions the tests notice: make mutants.

A sample with a seed out of every module that has a test file of its own, which alone decides: a full run of the suite
for each change would take weeks. What survives is printed; some changes alter nothing that a caller can see.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_LAYERS = ("core", "models", "data", "visualization", "inference", "evaluation", "training")
_NEEDED = ("erfnet_ros", "test", "config", "pyproject.toml", "package.xml", "setup.py", "docs")
_TIMEOUT_S = 600

_SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


@dataclass(frozen=True)
class Mutant:
    """A changed expression of a module: its place in the source, characters, and what stands there instead."""

    module: Path
    start: int
    end: int
    before: str
    after: str


def mutants(module: Path) -> Iterator[Mutant]:
    """Yield every change that is known for a module's source."""
    source = module.read_text()
    lines = [0]
    for line in source.splitlines(keepends=True):
        lines.append(lines[-1] + len(line.encode()))
    for node in _expressions(ast.parse(source)):
        if (changed := _changed(node)) is not None:
            start, end = lines[node.lineno - 1] + node.col_offset, lines[node.end_lineno - 1] + node.end_col_offset
            before = source.encode()[start:end].decode()
            yield Mutant(module, start, end, before, f"({ast.unparse(changed)})")


def _expressions(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield expressions, but those of annotations and of texts."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list") or isinstance(tree, ast.JoinedStr):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.expr):
                yield child
            if isinstance(child, ast.AST):
                yield from _expressions(child)


def _changed(node: ast.expr) -> ast.expr | None:
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _SWAPPED:
        return ast.Compare(node.left, [_SWAPPED[type(node.ops[0])]()], node.comparators)
    if isinstance(node, ast.BinOp) and type(node.op) in _SWAPPED:
        return ast.BinOp(node.left, _SWAPPED[type(node.op)](), node.right)
    if isinstance(node, ast.BoolOp):
        return ast.BoolOp(_SWAPPED[type(node.op)](), node.values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return node.operand
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return ast.Constant(not node.value)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return ast.Constant(node.value + 1)
    return None


def is_noticed(mutant: Mutant, copy: Path) -> bool:
    """Return whether the module's own test file fails with the change."""
    path = copy / mutant.module.relative_to(_ROOT)
    source = path.read_bytes()
    path.write_bytes(source[: mutant.start] + mutant.after.encode() + source[mutant.end :])
    environment = {**os.environ, "PYTHONPATH": f"{copy}:{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(_test_of(mutant.module))]
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=_TIMEOUT_S, check=False)
        return done.returncode != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_bytes(source)


def _test_of(module: Path) -> Path:
    inside = module.relative_to(_ROOT / "erfnet_ros")
    return Path("test") / inside.with_name(f"test_{inside.name}")


def main() -> int:
    """Try a sample; print what survives and the share that was noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of a module's path")
    options = parser.parse_args()
    modules = [path for layer in _LAYERS for path in sorted((_ROOT / "erfnet_ros" / layer).rglob("*.py"))]
    tested = [path for path in modules if (_ROOT / _test_of(path)).exists() and options.only in str(path)]
    draw, noticed = random.Random(options.seed), 0
    # Every module as often as the others: a long table of numbers would take most of a sample.
    sample = [draw.choice(list(mutants(module))) for module in draw.choices(tested, k=options.count)]
    with tempfile.TemporaryDirectory() as folder:
        for name in _NEEDED:
            (shutil.copytree if (_ROOT / name).is_dir() else shutil.copy)(_ROOT / name, Path(folder) / name)
        for mutant in sample:
            if is_noticed(mutant, Path(folder)):
                noticed += 1
                continue
            line = mutant.module.read_bytes()[: mutant.start].count(b"\n") + 1
            place = f"{mutant.module.relative_to(_ROOT)}:{line}"
            print(f"{place}: {mutant.before!r} -> {mutant.after!r} is not noticed", flush=True)
    print(f"{noticed} of {len(sample)} changes noticed ({100 * noticed / len(sample):.1f} %), seed {options.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
