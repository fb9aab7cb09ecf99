"""Measurements in a process: peak memory, operations, and the speed of the machine."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

_STATUS = Path("/proc/self/status")
MIB = 1024.0


def resident_mib() -> float:
    """Return the present resident memory of the process, MiB (its peak so far, if the system gives only that)."""
    return _status_mib("VmRSS")


def peak_mib() -> float:
    """Return the peak resident memory of the process, MiB: ``ru_maxrss``, or on Linux VmHWM, which excludes parents."""
    return _status_mib("VmHWM")


def _status_mib(name: str) -> float:
    if _STATUS.is_file():
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return float(line.split()[1]) / MIB
    unit = MIB * MIB if sys.platform == "darwin" else MIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


class _ByteCounter(TorchDispatchMode):
    """Adds up the sizes of every operator's tensors, as if each is read or written once and nothing is cached.

    Views and changes of shape count as free.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view and func.namespace != "prim":
            tensors = {id(t): t for t in tree_leaves((args, kwargs, result)) if isinstance(t, Tensor)}
            self.bytes += sum(t.numel() * t.element_size() for t in tensors.values())
        return result


def operations(step: Callable[[], Any]) -> tuple[int, int]:
    """Return a step's floating-point operations (convolutions and products, 2 per multiply-add) and moved bytes."""
    bytes_moved = _ByteCounter()
    with FlopCounterMode(display=False) as flops, bytes_moved:
        step()
    return int(flops.get_total_flops()), bytes_moved.bytes


def seconds_of(function: Callable[[], Any], repeats: int = 7) -> float:
    """Return the median time of a call in seconds, after one warm-up call."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def machine_speed(device: str, channels: int = 256) -> dict[str, float]:
    """Return the machine's speed in fp32.

    It is GFLOP/s of a 1024x1024 matrix product and of a 3x3 convolution as in the decoder, and GB/s of a large copy.
    """

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    def timed(function: Callable[[], Tensor]) -> float:
        def finished() -> None:
            function()
            wait()

        return seconds_of(finished)

    with torch.no_grad():
        a, b = (torch.randn(1024, 1024, device=device) for _ in range(2))
        image = torch.randn(1, channels, 50, 162, device=device).to(memory_format=torch.channels_last)
        kernel = torch.randn(channels, channels, 3, 3, device=device).to(memory_format=torch.channels_last)
        large = torch.randn(32 << 20, device=device)
        copy = torch.empty_like(large)
        return {
            "matmul_gflops": 2 * 1024**3 / timed(lambda: a @ b) / 1e9,
            "conv_gflops": 2 * 48 * 160 * 9 * channels**2 / timed(lambda: torch.conv2d(image, kernel)) / 1e9,
            "copy_gb_s": 2 * 4 * large.numel() / timed(lambda: copy.copy_(large)) / 1e9,
        }
