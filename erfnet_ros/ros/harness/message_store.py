"""Message store: outputs of a run, compressed on the disk until they are scored or drawn."""

from __future__ import annotations

from pathlib import Path

import zstandard

from erfnet_ros.core.errors import EvaluationError

_LEVEL = 1
"""Of zstd: masks shrink to a hundredth in well under a millisecond, and the processor is the node's."""


class MessageStore:
    """Keep one message for each topic and frame: a run of any length needs no memory for its pixels.

    To be used as a context manager; writing and reading may be on different threads, reading follows writing.

    Args:
        path: The file, which must not exist.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("x+b")
        self._compressor = zstandard.ZstdCompressor(_LEVEL)
        self._decompressor = zstandard.ZstdDecompressor()
        self._places: dict[tuple[str, int], tuple[int, int]] = {}
        self._end = 0

    def __enter__(self) -> MessageStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def put(self, topic: str, index: int, data: bytes) -> None:
        """Keep a message of frame `index`; the first of a topic and frame stays.

        Raises:
            EvaluationError: The disk does not take it.
        """
        if (topic, index) in self._places:
            return
        content = self._compressor.compress(data)
        try:
            self._file.write(content)
        except OSError as error:
            raise EvaluationError(
                f"Cannot keep the masks in '{self._file.name}': {error.strerror}; "
                "choose an output folder with more space."
            ) from error
        self._places[topic, index] = (self._end, len(content))
        self._end += len(content)

    def get(self, topic: str, index: int) -> bytes:
        """Return a message of frame `index`.

        Raises:
            KeyError: There is none.
        """
        place, size = self._places[topic, index]
        self._file.seek(place)
        content = self._decompressor.decompress(self._file.read(size))
        self._file.seek(self._end)
        return content

    def frames(self, *topics: str) -> set[int]:
        """Return the frames of which all these topics are kept."""
        kept = [{index for name, index in self._places if name == topic} for topic in topics]
        return set.intersection(*kept)
