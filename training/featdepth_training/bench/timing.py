"""Timing of calls in alternation, so that other load on the machine affects all of them."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

#: Number of warm-up calls of each function, which are not timed.
WARM_UP = 3


def percentiles(values: list[float]) -> dict[str, float]:
    """Return the median, and the 95th and 99th percentile."""
    return {f"p{p}": float(np.percentile(values, p)) for p in (50, 95, 99)}


def in_turns(calls: Mapping[str, Callable[[int], Any]], rounds: int) -> dict[str, dict[str, Any]]:
    """Time several calls in alternation.

    Args:
        calls: functions by name; each is called with the number of the round.
        rounds: number of timed rounds.

    Returns:
        By name: milliseconds ``ms`` (p50, p95, p99), ``cpu_ms`` and ``caller_ms`` (median CPU time of all threads, and
        of the calling thread), and ``frames_per_s``.
    """
    wall: dict[str, list[float]] = {name: [] for name in calls}
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    own: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(WARM_UP + rounds):
        for name, call in calls.items():
            started, used, mine = time.perf_counter(), time.process_time(), time.thread_time()
            call(number)
            if number >= WARM_UP:
                wall[name].append((time.perf_counter() - started) * 1e3)
                cpu[name].append((time.process_time() - used) * 1e3)
                own[name].append((time.thread_time() - mine) * 1e3)
    return {
        name: {
            "ms": percentiles(wall[name]),
            "cpu_ms": float(np.median(cpu[name])),
            "caller_ms": float(np.median(own[name])),
            "frames_per_s": 1e3 / float(np.median(wall[name])),
        }
        for name in calls
    }


def machine(device: str, threads: int) -> dict[str, Any]:
    """Return a description of the machine: processor, usable cores, threads, and its speed."""
    from featdepth_training.bench.measure import machine_speed

    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "threads": threads,
        "device": device,
        **machine_speed(device),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
