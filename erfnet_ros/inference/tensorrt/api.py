"""TensorRT backends: the one that is installed, and how they differ.

`tensorrt` 10 and 11 and `tensorrt_rtx` (TensorRT for RTX) share one Python API. What differs:

- Networks are strongly typed (precision stands in the graph) by a flag in 10, always in the others.
- `tensorrt` times kernels on the GPU while it builds, and keeps the timings; an engine belongs to the GPU's model.
- `tensorrt_rtx` builds without a GPU for every one that it knows, and compiles kernels where the engine is loaded.
"""

from __future__ import annotations

import functools
import importlib
import logging
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

from erfnet_ros.core.errors import EngineError

log = logging.getLogger(__name__)

NAMES = ("tensorrt", "tensorrt_rtx")
"""The Python packages, best first: `tensorrt` times kernels on this very GPU."""

_OLDEST_MAJOR = {"tensorrt": 10, "tensorrt_rtx": 1}


@dataclass(frozen=True)
class Backend:
    """One installed TensorRT.

    Attributes:
        name: One of `NAMES`.
        api: The Python module.
        log: An `api.ILogger` with `clear()` and `reason()`.
    """

    name: str
    version: str
    api: Any
    log: Any

    @property
    def title(self) -> str:
        """Name and version, for messages."""
        return f"{'TensorRT' if self.name == 'tensorrt' else 'TensorRT for RTX'} {self.version}"

    @property
    def times_kernels(self) -> bool:
        """Whether building needs the GPU, belongs to its model and leaves timings that the next build can use."""
        return self.name == "tensorrt"

    @property
    def compiles_at_load(self) -> bool:
        """Whether kernels are compiled where an engine is loaded, and can be kept for the next time."""
        return self.name == "tensorrt_rtx"

    def new(self, kind: str) -> Any:
        """Return a new `Builder` or `Runtime`; raise EngineError where it does not start, as without a GPU."""
        self.log.clear()
        try:
            return getattr(self.api, kind)(self.log)
        except TypeError as error:
            # pybind11 raises it where a constructor returned nothing.
            raise EngineError(
                f"{self.title} does not start: {self.log.reason()}; it needs an NVIDIA GPU and its driver. Set engine "
                "to auto."
            ) from error

    def network(self, builder: Any) -> Any:
        """Return an empty network that computes in the precision that its graph says."""
        flag = getattr(self.api.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        return builder.create_network(0 if flag is None else 1 << int(flag))


@functools.cache
def find_backend() -> Backend:
    """Return the TensorRT that is installed; raise EngineError where none is, or none can be loaded."""
    faults = []
    for name in NAMES:
        try:
            api = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                faults.append(f"'{name}' lacks '{error.name}'")
            continue
        except (ImportError, OSError) as error:
            # PyPI has the bindings alone; TensorRT's libraries come from NVIDIA.
            faults.append(f"'{name}' cannot be loaded ({error})")
            continue
        version = str(getattr(api, "__version__", "0"))
        if int(version.partition(".")[0]) < _OLDEST_MAJOR[name]:
            faults.append(f"'{name}' {version} is too old")
            continue
        return Backend(name, version, api, _new_log(api))
    raise EngineError(
        f"Engine 'tensorrt' needs the package 'tensorrt' 10 or later, or 'tensorrt_rtx', got "
        f"{', and '.join(faults) or 'neither'}; install one (pip install tensorrt-rtx, or TensorRT from NVIDIA), or "
        "set engine to auto."
    )


def _new_log(api: Any) -> Any:
    class Log(api.ILogger):  # type: ignore[misc]
        """Forward TensorRT's log at debug level, and keep its errors for the exception that is raised."""

        def __init__(self) -> None:
            api.ILogger.__init__(self)
            self._errors: deque[str] = deque(maxlen=20)
            self._lock = threading.Lock()

        def log(self, severity: Any, message: str) -> None:
            if severity in (api.ILogger.INTERNAL_ERROR, api.ILogger.ERROR):
                with self._lock:
                    self._errors.append(" ".join(message.split()))
            if severity != api.ILogger.VERBOSE:
                log.debug("TensorRT: %s", message)

        def clear(self) -> None:
            with self._lock:
                self._errors.clear()

        def reason(self) -> str:
            """Return the first error since `clear`, which the others follow from."""
            with self._lock:
                return self._errors[0][:400] if self._errors else "no reason given"

    return Log()
