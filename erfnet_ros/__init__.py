"""ERFNet semantic segmentation for ROS 2: `Segmenter` labels images, `ERFNet` is the network.

Importing this package imports none of torch, rclpy, cv2 or numpy; the modules that need them do.
"""

from importlib import import_module
from pkgutil import extend_path
from typing import Any

# A checkout on sys.path would otherwise hide the generated `erfnet_ros.msg` of an installed workspace.
__path__ = extend_path(__path__, __name__)

__version__ = "0.2.0"

_EXPORTS = {"Segmenter": "erfnet_ros.inference.segmenter", "ERFNet": "erfnet_ros.models.erfnet"}


def __getattr__(name: str) -> Any:
    """Import `Segmenter` or `ERFNet` when it is first asked for."""
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)
