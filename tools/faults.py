"""Run the table of faults against the real node, and print what became of it: make faults."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from support.faults.rig import Rig
from support.faults.table import ON_ONE_NODE, OWN_NODE, Outcome, measure


def outcomes(effort: float, named: str) -> Iterator[Outcome]:
    """Yield what became of the node in each fault whose name holds a text."""
    if shared := [fault for fault in ON_ONE_NODE if named in fault.name]:
        with tempfile.TemporaryDirectory() as folder, Rig(Path(folder)) as rig:
            for fault in shared:
                yield measure(rig, fault, effort)
    for fault, make_rig in OWN_NODE:
        if named in fault.name:
            with tempfile.TemporaryDirectory() as folder, make_rig(Path(folder)) as rig:
                yield measure(rig, fault, effort)


def main() -> int:
    """Print the table; return 1 unless the node survived everything with right headers and whole files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--effort", type=float, default=1.0, help="share of messages, cycles and the like")
    parser.add_argument("--only", default="", help="part of a fault's name")
    options = parser.parse_args()
    print("| fault | survived | recovery | wrong headers | half-written files | |\n|---|---|---:|---:|---:|---|")
    right = True
    for found in outcomes(options.effort, options.only):
        survived = "yes" if found.survived else "NO"
        figures = f"{found.recovery_s:.2f} s | {found.wrong_headers} | {found.half_written}"
        print(f"| {found.name} | {survived} | {figures} | {found.remark} |", flush=True)
        right &= found.survived and not found.wrong_headers and not found.half_written
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
