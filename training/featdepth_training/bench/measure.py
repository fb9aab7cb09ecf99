"""What a process can say of itself: peak memory, operations, and the speed the machine allows."""

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
    """Memory the process holds now, MiB (its peak so far where the system does not tell)."""
    return _status_mib("VmRSS")


def peak_mib() -> float:
    """Most memory the process has held, MiB: ``ru_maxrss``, or Linux's VmHWM, which no parent process inflates."""
    return _status_mib("VmHWM")


def _status_mib(name: str) -> float:
    if _STATUS.is_file():
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return float(line.split()[1]) / MIB
    unit = MIB * MIB if sys.platform == "darwin" else MIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


class _ByteCounter(TorchDispatchMode):
    """Adds up the sizes of every operator's tensors: as if each were read or written once, and nothing stayed cached.

    Views and changes of shape cost nothing.
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
    """Count a step: floating-point operations (convolutions and products, 2 a multiply-add), and bytes moved."""
    bytes_moved = _ByteCounter()
    with FlopCounterMode(display=False) as flops, bytes_moved:
        step()
    return int(flops.get_total_flops()), bytes_moved.bytes


def seconds_of(function: Callable[[], Any], repeats: int = 7) -> float:
    """Median seconds of a call, after one to warm up."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def machine_speed(device: str, channels: int = 256) -> dict[str, float]:
    """GFLOP/s of a 1024-square product and of a 3x3 convolution as the decoder has them, GB/s of a large copy, fp32."""

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
