"""What networks and solvers run on: the choice of the device, and threads, for node, commands and training."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import torch

from featdepth_ros.errors import ConfigError

#: The names under which builds of OpenBLAS (NumPy's wheels, SciPy's, Debian's) offer the same function.
_THREAD_SETTERS = tuple(
    f"{before}openblas_set_num_threads{after}" for before in ("scipy_", "") for after in ("64_", "", "_", "_64")
)


def resolve_device(name: str | None) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` into a device; ``auto`` and None take the GPU when there is one.

    Raises:
        ConfigError: not a device, or one this machine lacks.
    """
    if name in (None, "", "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(str(name))
    except RuntimeError as error:
        raise ConfigError(f"device '{name}' is not known; expected auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device '{name}' was asked for, but this torch sees no CUDA GPU; use device cpu or auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device '{name}' was asked for; there are {torch.cuda.device_count()} GPUs")
    return device


def single_threaded_linear_algebra() -> int:
    """Let NumPy's linear algebra use one thread in this process; its problems are small here.

    Threads of OpenBLAS wait for each other by spinning. Where another program has a core busy, a solve of 256 unknowns
    then takes hundreds of milliseconds instead of one. NumPy has no call for it, and reads the environment only when
    it is imported.

    Returns:
        How many libraries were told: 0 where NumPy has another one, or the system no /proc.
    """
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    paths = {line.split(maxsplit=5)[-1] for line in maps.splitlines() if "openblas" in line}
    told = 0
    for path in sorted(path for path in paths if path.startswith("/")):
        library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD)
        setter = next((getattr(library, name) for name in _THREAD_SETTERS if hasattr(library, name)), None)
        if setter is not None:
            setter(ctypes.c_int(1))
            told += 1
    return told
