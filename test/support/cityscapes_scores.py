"""Scores by the official Cityscapes scripts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling


def official_scores(ground_truth_files: list[Path], folder: Path) -> dict[str, dict[str, float]]:
    """Run the official evaluation, its own search for the predictions included."""
    official = evalPixelLevelSemanticLabeling
    arguments = SimpleNamespace(**vars(official.args))
    arguments.predictionPath, arguments.predictionWalk = str(folder), None
    arguments.evalInstLevelScore, arguments.JSONOutput, arguments.quiet = False, False, True
    predictions = [official.getPrediction(arguments, str(path)) for path in ground_truth_files]
    result: dict[str, dict[str, float]] = official.evaluateImgLists(
        predictions, [str(path) for path in ground_truth_files], arguments
    )
    return result
