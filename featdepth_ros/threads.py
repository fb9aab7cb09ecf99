"""Number of threads of computations, and how they wait. Programs call this module; an import alone sets nothing."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

#: Names of the same function in different builds of OpenBLAS (NumPy's wheels, SciPy's, Debian's).
_THREAD_SETTERS = tuple(
    f"{before}openblas_set_num_threads{after}" for before in ("scipy_", "") for after in ("64_", "", "_", "_64")
)


def wait_asleep() -> None:
    """Let idle OpenMP threads sleep instead of spinning. It has an effect only before torch is imported.

    A spinning thread occupies a core for which the thread it waits for may be waiting. On a busy machine, the networks
    then take ten times their processor time. An OMP_WAIT_POLICY of the user is not changed.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def threads_of_networks() -> int:
    """Return the number of threads for networks that run beside the caller: all processors except one.

    If networks and tracking share a processor, they delay each other (docs/results.md).
    """
    return max(len(os.sched_getaffinity(0)) - 1, 1)


def single_threaded_linear_algebra() -> int:
    """Let NumPy's linear algebra use one thread in this process, because its problems are small here.

    Threads of OpenBLAS wait for each other by spinning. If another program occupies a core, a solve of 256 unknowns
    takes hundreds of milliseconds instead of one. NumPy has no function for this setting, and reads the environment
    only during its import.

    Returns:
        Number of libraries that were set; 0 if NumPy uses another library, or if the system has no /proc.
    """
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    paths = {line.split(maxsplit=5)[-1] for line in maps.splitlines() if "openblas" in line}
    count = 0
    for path in sorted(path for path in paths if path.startswith("/")):
        library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD)
        setter = next((getattr(library, name) for name in _THREAD_SETTERS if hasattr(library, name)), None)
        if setter is not None:
            setter(ctypes.c_int(1))
            count += 1
    return count
