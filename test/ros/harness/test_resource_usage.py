"""Processor, memory and GPU use of the node's process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid

import psutil
import pytest

from erfnet_ros.ros.harness.resource_usage import UsageMeter, find_node, gpu_statistics

BUSY = "import time; end = time.monotonic() + 60\nprint('on', flush=True)\nwhile time.monotonic() < end: pass"
IDLE = "import sys; block = bytearray(b'x') * 200_000_000; print('on', flush=True); sys.stdin.read()"


def started(program: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    return process


def wait_for_processor_time(process_id: int, seconds: float) -> None:
    """Wait until a process has had so much of the processor, however busy the machine is."""
    process, deadline = psutil.Process(process_id), time.monotonic() + 60
    before = process.cpu_times().user
    while process.cpu_times().user < before + seconds:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_busy_process_takes_processor_and_an_idle_one_memory() -> None:
    with started(BUSY) as busy, started(IDLE) as idle:
        try:
            meters = UsageMeter(busy.pid, "cpu"), UsageMeter(idle.pid, "cpu")
            wait_for_processor_time(busy.pid, 0.3)
            of_busy, of_idle = (meter.stop() for meter in meters)
        finally:
            busy.kill()
            idle.kill()
    assert of_busy.cpu_percent > 5 > of_idle.cpu_percent
    assert of_idle.memory_mb > 200 > of_busy.memory_mb
    assert of_idle.memory_mean_mb == pytest.approx(of_idle.memory_mb, rel=0.1)
    assert (of_idle.gpu_percent, of_idle.gpu_memory_mb) == (None, None)


def test_a_process_that_has_ended_leaves_what_was_seen_of_it() -> None:
    with started(IDLE) as process:
        meter = UsageMeter(process.pid, "cpu")
        process.kill()
    assert meter.stop().memory_mb > 200


def test_lines_of_nvidia_smi_become_mean_and_maximum() -> None:
    """Utilization in percent, memory in MiB; a line may be cut off where the program was stopped."""
    percent, megabytes = gpu_statistics("10, 1000\n30, 2000\n[N/A], [N/A]\n4")
    assert percent == 20
    assert megabytes == pytest.approx(2000 * 1.048576)
    assert gpu_statistics("") == (None, None)


def test_a_running_node_is_found_by_its_domain_and_no_other_program() -> None:
    """The mark in its command line is what the node's executable has."""
    domain = str(uuid.uuid4())
    environment = {**os.environ, "ROS_DOMAIN_ID": domain}
    command = [sys.executable, "-c", IDLE, "/opt/ros/lib/erfnet_ros/segment"]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert find_node(domain) == process.pid
        assert find_node("another") is None
        process.kill()
