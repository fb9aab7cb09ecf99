"""Decompression of zstd, which bags and image transports use.

Python 3.14 has it in the standard library; older versions need the package backports.zstd.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path
from typing import Any

from featdepth_ros.errors import MissingDependencyError

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def decompress_zstd(data: bytes) -> bytes:
    """Return the decompressed bytes.

    Raises:
        MissingDependencyError: zstd is not installed.
        ValueError: the data are damaged.
    """
    zstd = _zstd()
    try:
        return bytes(zstd.decompress(data))
    except zstd.ZstdError as error:
        raise ValueError(f"damaged zstd data: {error}") from error


def decompress_zstd_file(source: Path, target: Path) -> None:
    """Decompress a file into another; from a truncated file, as much as possible.

    Raises:
        MissingDependencyError: zstd is not installed.
        OSError: a file cannot be read or written.
        ValueError: the data are damaged.
    """
    zstd = _zstd()
    try:
        with zstd.open(source, "rb") as packed, target.open("wb") as plain, contextlib.suppress(EOFError):
            shutil.copyfileobj(packed, plain, 1 << 20)
    except zstd.ZstdError as error:
        raise ValueError(f"damaged zstd data: {error}") from error


def _zstd() -> Any:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError as error:
        raise MissingDependencyError("zstd needs the package backports.zstd: pip install backports.zstd") from error
    return zstd
