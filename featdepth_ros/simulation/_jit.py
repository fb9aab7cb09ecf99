"""One way to compile: without the GIL, cached where a cache can be written, and a clear word when numba is missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from featdepth_ros.errors import MissingDependencyError

try:
    import numba
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingDependencyError(
        "the simulation needs numba, which is not installed; install the extra: pip install 'featdepth_ros[simulation]'"
    ) from error

Function = TypeVar("Function", bound=Callable[..., Any])

#: Fast, but NaN and infinity keep their meaning: sky depth is NaN and a miss is an infinite distance.
_FASTMATH = {"reassoc", "contract", "arcp", "nsz"}


def jit(function: Function) -> Function:
    """Compile ``function`` on its first call, releasing the GIL; cached on disk unless no folder can be written."""
    options: dict[str, Any] = {"nogil": True, "fastmath": _FASTMATH, "error_model": "numpy"}
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba: "no locator available": neither the package nor the user's cache can be written
        compiled = numba.njit(**options)(function)
    return compiled  # type: ignore[no-any-return]
