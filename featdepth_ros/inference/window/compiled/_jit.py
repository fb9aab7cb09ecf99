"""How the window's inner loops are compiled: when their module is imported, without the GIL, kept on disk.

Signatures are given, so that a first import compiles (seconds) and later ones load (a fraction of a second); no frame
ever waits. An entry point that calls compiled functions of another file holds `FINGERPRINT`, the digest of this folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from featdepth_ros.compiling import OPTIONS, Function, fingerprint
from featdepth_ros.errors import MissingDependencyError

try:
    import numba
except ImportError as error:
    raise MissingDependencyError(
        f"motion from a window of frames needs numba, which cannot be imported ({error}); "
        "install it (pip install numba) or choose the pose network's motion"
    ) from error

FINGERPRINT = fingerprint(sorted(Path(__file__).parent.glob("*.py")))


def jit_called(function: Function) -> Function:
    """Compile a function that other compiled functions call."""
    return numba.njit(**OPTIONS)(function)  # type: ignore[no-any-return]


def jit_entry(signature: str) -> Callable[[Function], Function]:
    """Compile an entry point now, for one signature; keep it on disk where a cache folder can be written."""

    def compile_now(function: Function) -> Function:
        try:
            return numba.njit(signature, cache=True, **OPTIONS)(function)  # type: ignore[no-any-return]
        except (RuntimeError, OSError):  # no folder for the cache, or its disk is full
            return numba.njit(signature, **OPTIONS)(function)  # type: ignore[no-any-return]

    return compile_now
