"""Compilation of the inner loops by numba: without the GIL, and cached if the cache can be written.

Only the entry points are cached. Each contains `FINGERPRINT`, the digest of the files in `_FILES`.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from featdepth_ros.compiling import OPTIONS, Function, fingerprint
from featdepth_ros.errors import MissingDependencyError

# All modules of the simulation import this one first, so missing packages are reported here, once.
try:
    import numba
    import scipy.spatial  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(
        f"the simulation needs numba and scipy, but {error.name or 'one of them'} cannot be imported ({error}); "
        "install the extra: pip install 'featdepth_ros[simulation]'"
    ) from error

_OPTIONS: dict[str, Any] = {
    **OPTIONS,
    # No reference counting: the kernels allocate nothing, and atomic counting took more than half of their time.
    "_nrt": False,
}
_FILES = ("sampling.py", "shapes.py", "shading.py", "kernels.py")
FINGERPRINT = fingerprint(Path(__file__).with_name(name) for name in _FILES)


def jit(function: Function) -> Function:
    """Compile a function that is called by other compiled functions."""
    return numba.njit(**_OPTIONS)(function)  # type: ignore[no-any-return]


def jit_inline(function: Function) -> Function:
    """Compile a small function into each place that calls it."""
    return numba.njit(forceinline=True, **_OPTIONS)(function)  # type: ignore[no-any-return]


def jit_entry(function: Function) -> Function:
    """Compile an entry point and cache it, if a cache folder can be written and the disk is not full."""
    try:
        compiled = numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # numba: "cannot cache function: no locator available"
        return numba.njit(**_OPTIONS)(function)  # type: ignore[no-any-return]

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        try:
            return compiled(*arguments)
        except OSError:  # the compiled function is in memory; only its cache file could not be saved
            return compiled(*arguments)

    return call  # type: ignore[return-value]
