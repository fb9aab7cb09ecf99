"""How the inner loops are compiled: without the GIL, cached where a cache can be written.

Only the entry points are cached, and each holds `FINGERPRINT`, the digest of all the compiled files.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from featdepth_ros.compiling import OPTIONS, Function, fingerprint
from featdepth_ros.errors import MissingDependencyError

# Every module of the simulation is imported after this one, so that what it needs is asked for here, once.
try:
    import numba
    import scipy.spatial  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(
        f"the simulation needs numba and scipy, and {error.name or 'one of them'} cannot be imported ({error}); "
        "install the extra: pip install 'featdepth_ros[simulation]'"
    ) from error

_OPTIONS: dict[str, Any] = {
    **OPTIONS,
    # No reference counting: the kernels allocate nothing, and counting (atomically) cost more than half of their time.
    "_nrt": False,
}
_FILES = ("shapes.py", "shading.py", "kernels.py")
FINGERPRINT = fingerprint(Path(__file__).with_name(name) for name in _FILES)


def jit(function: Function) -> Function:
    """Compile a function that other compiled functions call."""
    return numba.njit(**_OPTIONS)(function)  # type: ignore[no-any-return]


def jit_inline(function: Function) -> Function:
    """Compile a small function into each place that calls it."""
    return numba.njit(forceinline=True, **_OPTIONS)(function)  # type: ignore[no-any-return]


def jit_entry(function: Function) -> Function:
    """Compile an entry point and cache it, unless no cache folder can be written or the disk is full."""
    try:
        compiled = numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # numba: "cannot cache function: no locator available"
        return numba.njit(**_OPTIONS)(function)  # type: ignore[no-any-return]

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        try:
            return compiled(*arguments)
        except OSError:  # it was compiled, and is kept in memory; only its file could not be saved
            return compiled(*arguments)

    return call  # type: ignore[return-value]
