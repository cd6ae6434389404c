"""Exceptions: each message says what was expected, what was got and what to do.

Whatever reads, writes or checks what a user gave raises one of them; a docstring names those that a caller catches.
"""

from erfnet_ros.core.printable_text import printable

_LONGEST = 2000
"""Characters of a message."""


class ErfnetError(Exception):
    """Base of every error that bad input can cause; the message is meant for the user, on one line.

    Messages show names and values from outside: what a terminal or a log would act on becomes visible here.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message, _LONGEST))


class ClassSetError(ErfnetError):
    """A class set (YAML file or checkpoint metadata) is not usable."""


class CheckpointError(ErfnetError):
    """A checkpoint is missing, truncated, foreign or does not fit the network."""


class ImageError(ErfnetError):
    """An image or image message cannot be segmented: size, type, encoding or length."""


class EngineError(ErfnetError):
    """An engine, device or precision is unknown or not available on this machine."""


class DeviceError(EngineError):
    """A GPU failed while it worked, is gone, or has too little memory left."""


class OutputError(ErfnetError):
    """A file cannot be written: its folder is missing or protected, or the disk is full."""


class ParameterError(ErfnetError):
    """A parameter or option has a value outside what it accepts."""


class SourceError(ErfnetError):
    """A folder, video or data set of images is missing, empty or inconsistent."""


class EvaluationError(ErfnetError):
    """Frames and ground truth of a bag cannot be scored, a result cannot be read, or a threshold has no value."""


class ScoreError(ErfnetError):
    """A score cannot be taken, added or read: class sets differ, or its counts are damaged."""


class BagError(ErfnetError):
    """A bag, one of its topics or a message in it is missing, damaged, of another kind, or cannot be written."""


class ExportError(ErfnetError):
    """A network cannot be written as ONNX, or the graph that came out answers otherwise than PyTorch."""


class TrainingError(ErfnetError):
    """A training run cannot begin, go on or be saved."""
