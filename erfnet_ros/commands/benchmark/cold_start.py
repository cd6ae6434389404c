"""What `startup_time` runs in a process of its own: load, segment one image, tell as JSON what it took."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def main(arguments: Sequence[str]) -> int:
    """Take checkpoint, engine, precision, device, width and height; print seconds and memory."""
    checkpoint, engine, precision, device, width, height = arguments
    image = np.zeros((int(height), int(width), 3), np.uint8)
    start = time.perf_counter()
    from erfnet_ros.inference.segmenter import Segmenter

    segmenter = Segmenter(checkpoint, engine=engine, device=device, precision=precision)
    segmenter(image)
    seconds = time.perf_counter() - start
    device = segmenter.engine.device
    found = {
        "seconds": seconds,
        "memory_mb": _most_memory_mb(),
        "device": device,
        "gpu_memory_mb": None if device == "cpu" else used_gpu_memory_mb(device),
    }
    print(json.dumps(found))
    return 0


def _most_memory_mb() -> float:
    """Return the largest resident size so far; getrusage would count what the parent held before exec."""
    status = Path("/proc/self/status").read_text()
    match = re.search(r"VmHWM:\s*(\d+) kB", status)
    return int(match[1]) / 1024 if match else float("nan")


def used_gpu_memory_mb(device: str) -> float:
    """Return what is taken of the memory of GPU "cuda:N", by this process and all others."""
    import torch

    free, total = torch.cuda.mem_get_info(torch.device(device))
    return (total - free) / 2**20


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
