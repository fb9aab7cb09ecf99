"""How many threads computations use, and how these wait. Programs call it; importing the package sets nothing."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

#: The names under which builds of OpenBLAS (NumPy's wheels, SciPy's, Debian's) offer the same function.
_THREAD_SETTERS = tuple(
    f"{before}openblas_set_num_threads{after}" for before in ("scipy_", "") for after in ("64_", "", "_", "_64")
)


def wait_asleep() -> None:
    """Let idle threads of OpenMP sleep instead of spinning. It counts when torch is not loaded yet.

    A thread that spins for another, which waits for a core itself, holds that core. On a machine with other work the
    networks then take ten times their processor time. A user's own OMP_WAIT_POLICY is left as it is.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def threads_of_networks() -> int:
    """How many threads the networks are to use while the caller goes on: all processors but the one it needs itself.

    Networks that have no processor of their own hold up the tracks, and the tracks them (docs/results.md).
    """
    return max(len(os.sched_getaffinity(0)) - 1, 1)


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
    count = 0
    for path in sorted(path for path in paths if path.startswith("/")):
        library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD)
        setter = next((getattr(library, name) for name in _THREAD_SETTERS if hasattr(library, name)), None)
        if setter is not None:
            setter(ctypes.c_int(1))
            count += 1
    return count
