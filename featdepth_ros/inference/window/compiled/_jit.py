"""How the window's inner loops are compiled: when their module is imported, without the GIL, kept on disk.

Signatures are given, so that a first import compiles (seconds) and later ones load (a fraction of a second); no frame
ever waits. numba's cache looks only at the file of the cached function. An entry point that calls compiled functions of
another file therefore holds `FINGERPRINT`, the digest of this folder. numba keys its cache on such closed-over values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from featdepth_ros.errors import MissingDependencyError

try:
    import numba
except ImportError as error:
    raise MissingDependencyError(
        f"motion from a window of frames needs numba, which cannot be imported ({error}); "
        "install it (pip install numba) or choose the pose network's motion"
    ) from error

Function = TypeVar("Function", bound=Callable[..., Any])

#: Fast, but NaN and infinity keep their meaning: a NaN marks what was not seen.
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
    "error_model": "numpy",
    "boundscheck": False,
}

FINGERPRINT = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()


def jit_called(function: Function) -> Function:
    """Compile a function that other compiled functions call."""
    return numba.njit(**_OPTIONS)(function)  # type: ignore[no-any-return]


def jit_entry(signature: str) -> Callable[[Function], Function]:
    """Compile an entry point now, for one signature; keep it on disk where a cache folder can be written."""

    def compile_now(function: Function) -> Function:
        try:
            return numba.njit(signature, cache=True, **_OPTIONS)(function)  # type: ignore[no-any-return]
        except (RuntimeError, OSError):  # no folder for the cache, or its disk is full
            return numba.njit(signature, **_OPTIONS)(function)  # type: ignore[no-any-return]

    return compile_now
