"""Example frames in the report: best, worst and least confident."""

from __future__ import annotations

from pathlib import Path

from erfnet_ros.core.errors import ImageError
from erfnet_ros.evaluation.results.result import Result
from erfnet_ros.visualization.html.elements import Block, Note, Picture, Section
from erfnet_ros.visualization.html.formatting import percent
from erfnet_ros.visualization.html.images import file_uri

_TITLES = {"worst": "Worst", "best": "Best", "uncertain": "Least sure"}


def frames_section(result: Result, folder: Path) -> Section:
    """Return the strips of image, truth, mask and overlay; one that is missing in `folder` is named in its place."""
    blocks: list[Block] = []
    for kind, word in _TITLES.items():
        for picture in (picture for picture in result.pictures if picture.kind == kind):
            title = f"{word}: frame {picture.index} of {result.bags[picture.bag].name}"
            figures = [
                "" if picture.miou is None else f"mIoU {percent(picture.miou)}",
                "weakest: " + ", ".join(f"{name} {percent(iou)}" for name, iou in picture.weakest.items())
                if picture.weakest
                else "",
                "" if picture.confidence is None else f"mean confidence {percent(picture.confidence)}",
                f"stamp {picture.stamp_ns / 1e9:.3f} s",
            ]
            try:
                uri = file_uri(folder / picture.file)
            except ImageError as error:
                blocks.append(Note(f"{title}: {error}", "fair"))
            else:
                blocks.append(Picture(uri, title, ", ".join(text for text in figures if text)))
    return Section("Frames to look at", blocks)
