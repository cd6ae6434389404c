"""Label files as the Cityscapes server and its official scripts read them."""

from __future__ import annotations

import re
from pathlib import Path

import cv2

from erfnet_ros.core.array_types import Pixels
from erfnet_ros.core.class_set import CITYSCAPES, ClassSet
from erfnet_ros.core.errors import ClassSetError, SourceError
from erfnet_ros.core.output_files import write_file
from erfnet_ros.data.datasets.cityscapes import label_ids
from erfnet_ros.data.frame_sources import Frame

_ENDING = "_labelIds.png"
_NAME = re.compile(r"[A-Za-z-]+_\d{6}_\d{6}")


class ServerExport:
    """Write labels as PNG files of Cityscapes' label ids, CITY_SEQUENCE_FRAME_labelIds.png, into a folder."""

    def __init__(self, folder: Path, class_set: ClassSet) -> None:
        if class_set.names != CITYSCAPES.names:
            raise ClassSetError(
                f"Expected the {len(CITYSCAPES)} classes of cityscapes to export for its server, got the "
                f"{len(class_set)} of '{class_set.name}'; leave --export-server out."
            )
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._there = sorted(folder.rglob("*.png"))
        except OSError as error:
            raise SourceError(f"Cannot write to {folder}: {error.strerror}; choose another folder.") from error

    def check(self, names: list[str]) -> None:
        """Refuse frames that the server would not find, or would find twice, before the first is segmented."""
        for name in names:
            if not _NAME.fullmatch(name):
                raise SourceError(
                    f"Expected frames named CITY_SEQUENCE_FRAME (such as aachen_000000_000019), got '{name}'; the "
                    "server would not know it."
                )
        wanted = set(names)
        for file in self._there:
            begin = "_".join(file.stem.split("_")[:3])
            if begin in wanted and file != self.folder / (begin + _ENDING):
                raise SourceError(
                    f"Expected no other PNG file of the same frames in '{self.folder}', got '{file}', which the "
                    "server's script would take for a second answer; choose an empty folder."
                )

    def write(self, frame: Frame, labels: Pixels) -> None:
        """Write one frame's labels (H, W), train ids; void becomes label id 0, "unlabeled"."""
        content = cv2.imencode(".png", label_ids(labels))[1]
        write_file(self.folder / (frame.name + _ENDING), content.tobytes())
