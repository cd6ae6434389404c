"""Resource usage of a process: processor, memory, and the GPU where there is one."""

from __future__ import annotations

import shutil
import threading
import time

import psutil

from erfnet_ros.evaluation.metadata import Usage
from erfnet_ros.ros.harness.child_process import ChildProcess

_PERIOD_S = 0.5


class UsageMeter:
    """Watch a process on a thread until `stop`, which may be called again.

    Args:
        process_id: Of the process; it must run.
        device: Where its network runs: "cpu" or "cuda:N".

    Raises:
        psutil.Error: There is no such process, or it must not be watched.
    """

    def __init__(self, process_id: int, device: str) -> None:
        self._process = psutil.Process(process_id)
        self._memory: list[int] = [self._process.memory_info().rss]
        self._gpu_lines: list[str] = []
        self._gpu: ChildProcess | None = None
        if device.startswith("cuda") and shutil.which("nvidia-smi"):
            # The whole GPU: per process nvidia-smi tells no utilization, nor anything in a container.
            command = ["nvidia-smi", "-i", device.partition(":")[2] or "0", "-lms", str(round(1000 * _PERIOD_S))]
            command += ["--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits"]
            self._gpu = ChildProcess("nvidia-smi", command, on_line=self._gpu_lines.append)
        self._start_s, self._start_cpu_s = time.monotonic(), self._cpu_s()
        self._last_s, self._last_cpu_s = self._start_s, self._start_cpu_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
        self._thread.start()

    def stop(self) -> Usage:
        """End watching, and return what was seen."""
        self._stopped.set()
        self._thread.join()
        if self._gpu is not None:
            self._gpu.stop()
        gpu_percent, gpu_memory_mb = gpu_statistics("\n".join(self._gpu_lines))
        elapsed_s = max(self._last_s - self._start_s, 1e-9)
        return Usage(
            cpu_percent=100 * (self._last_cpu_s - self._start_cpu_s) / elapsed_s,
            memory_mb=max(self._memory) / 1e6,
            memory_mean_mb=sum(self._memory) / len(self._memory) / 1e6,
            gpu_percent=gpu_percent,
            gpu_memory_mb=gpu_memory_mb,
        )

    def _run(self) -> None:
        while not self._stopped.wait(_PERIOD_S):
            self._look()
        self._look()

    def _look(self) -> None:
        try:
            cpu_s, memory = self._cpu_s(), self._process.memory_info().rss
        except psutil.Error:
            # It has ended; its parent reports why.
            return
        self._last_s, self._last_cpu_s = time.monotonic(), cpu_s
        self._memory.append(memory)

    def _cpu_s(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


def gpu_statistics(text: str) -> tuple[float | None, float | None]:
    """Return mean percent and largest memory (10^6 bytes) out of nvidia-smi's lines of "percent, MiB"."""
    rows = []
    for line in text.splitlines():
        try:
            percent, mebibytes = (float(part) for part in line.split(","))
        except ValueError:
            # "[N/A]", or a line that was cut off at the end.
            continue
        rows.append((percent, mebibytes * 2**20 / 1e6))
    if not rows:
        return None, None
    return sum(percent for percent, _ in rows) / len(rows), max(megabytes for _, megabytes in rows)


def find_node(domain: str) -> int | None:
    """Return the process id of a ROS domain's segmentation node on this machine; None unless there is exactly one."""
    found = []
    for process in psutil.process_iter():
        try:
            command, environment = process.cmdline(), process.environ()
        except psutil.Error:
            continue
        is_node = any(part.endswith("lib/erfnet_ros/segment") for part in command) or "erfnet_ros.ros.node" in command
        if is_node and environment.get("ROS_DOMAIN_ID", "0") == domain:
            found.append(process.pid)
    return found[0] if len(found) == 1 else None
