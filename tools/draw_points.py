"""Draw the labeled point cloud of a street: python tools/draw_points.py docs/images/points.png"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from erfnet_ros.core.class_set import CAMVID
from erfnet_ros.data.point_cloud import PointFilter, project
from erfnet_ros.data.synthetic.street import Street
from erfnet_ros.inference.segmenter import Segmenter
from erfnet_ros.visualization.overlay import blend

SEED, FRAME, SIZE, FARTHEST_M = 10, 40, (640, 480), 25.0


def main(path: Path) -> None:
    """Segment a frame, project it, and draw image, side and top view."""
    street = Street(SEED, SIZE)
    rgb, (depth, intrinsics) = street.frame(FRAME)[0], street.depth(FRAME)
    result, palette = Segmenter()(rgb), CAMVID.palette()
    colors = np.ascontiguousarray(palette[result.labels])
    points = project(
        depth,
        intrinsics,
        rgb=colors,
        labels=result.labels,
        confidence=result.confidence,
        kept=PointFilter(max_range=FARTHEST_M),
    )
    points = points[np.isfinite(points["z"])]
    shades = palette[points["label"]] / 255
    right, down, ahead = points["x"], points["y"], points["z"]
    figure = plt.figure(figsize=(12, 4), dpi=100, layout="constrained", facecolor="white")
    image = figure.add_subplot(1, 3, 1)
    image.imshow(blend(rgb, result.labels, palette, 0.5))
    image.set_title("labels on the image")
    image.axis("off")
    space = figure.add_subplot(1, 3, 2, projection="3d")
    # Points cover what a pixel covers: larger when they are farther.
    space.scatter(ahead, -right, -down, c=shades, s=(ahead / 12) ** 2, linewidths=0)
    space.set(title="points, from behind the camera", xlabel="ahead (m)", ylabel="left (m)", zlim=(-2, 5), zticks=())
    space.set_box_aspect((np.ptp(ahead), np.ptp(right), 7), zoom=1.5)
    space.view_init(35, -155)
    top = figure.add_subplot(1, 3, 3)
    order = np.argsort(-down)
    top.scatter(right[order], ahead[order], c=shades[order], s=(ahead[order] / 12) ** 2, linewidths=0)
    top.set(title="points, from above", xlabel="right (m)", ylabel="ahead (m)", aspect="equal")
    figure.canvas.draw()
    drawn = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    Image.fromarray(drawn.copy()).quantize(64).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
