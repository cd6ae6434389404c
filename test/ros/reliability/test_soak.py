"""The soak: growth is told from noise, and a short run leaves a page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from support.faults.endurance import slope_per_h

ROOT = Path(__file__).resolve().parents[3]
SECONDS = np.arange(600.0)
NOISE = np.random.default_rng(0).normal(0, 0.5, 600)


def test_steady_growth_is_found_in_noise() -> None:
    slope, error = slope_per_h(SECONDS, 500 + SECONDS / 600 + NOISE)
    assert slope == pytest.approx(6, abs=1)
    assert slope - error > 1


@pytest.mark.parametrize("values", [NOISE, np.where(SECONDS < 100, 0, 30) + NOISE], ids=["noise", "warming up"])
def test_noise_and_warming_up_are_no_growth(values: np.ndarray) -> None:
    slope, error = slope_per_h(SECONDS, 500 + values)
    assert slope - error <= 1


def test_a_short_run_judges_the_faults_alone_and_leaves_a_page(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "test"), *filter(None, sys.path)])}
    command = [sys.executable, str(ROOT / "tools/soak.py"), "--minutes", "0.2", "--out", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(0 not survived) good" in done.stdout
    assert "memory:" in done.stdout
    page = (tmp_path / "soak.html").read_text()
    assert page.count("<svg") >= 4
    assert "no slope is judged" in page
