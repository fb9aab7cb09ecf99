"""What the inner loops that numba compiles have in common: its options, and the key of its cache.

numba's cache looks only at the file of the cached function, not at those it calls. An entry point therefore holds the
digest of all the compiled files: numba keys its cache on such closed-over values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

#: Fast, but NaN and infinity keep their meaning: a NaN marks what was not seen, an infinite distance a miss.
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
    "error_model": "numpy",
    "boundscheck": False,
}


def fingerprint(files: Iterable[Path]) -> str:
    """Return the digest of compiled files, and of the options they are compiled with."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in (*files, Path(__file__)))).hexdigest()
