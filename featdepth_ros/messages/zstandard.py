"""zstd, as bags and image transports use it: in the standard library from Python 3.14 on, else in a package."""

from __future__ import annotations

import sys

from featdepth_ros.errors import MissingDependencyError

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def decompress_zstd(data: bytes) -> bytes:
    """Return the decompressed bytes.

    Raises:
        MissingDependencyError: there is no zstd here.
        ValueError: the data are damaged.
    """
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError as error:
        raise MissingDependencyError("zstd needs the package backports.zstd: pip install backports.zstd") from error
    try:
        return bytes(zstd.decompress(data))
    except zstd.ZstdError as error:
        raise ValueError(f"damaged zstd data: {error}") from error
