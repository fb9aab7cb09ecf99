"""Settings of the memory allocator. Programs call this module; an import alone sets nothing."""

from __future__ import annotations

import ctypes

#: Parameters of glibc's mallopt, by their numbers in <malloc.h>.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: Largest size of a freed block that is kept, bytes. It is the limit of glibc, and enough for float32 maps of a 1080p
#: image.
_KEPT_BLOCK = 32 * 1024 * 1024
#: Free memory above which the rest is returned to the system, bytes.
_KEPT_IN_ALL = 512 * 1024 * 1024


def keep_freed_memory() -> bool:
    """Let the allocator keep freed memory, up to half a gigabyte, for the next frame.

    By default glibc returns large blocks to the system at once. The networks' maps then need new pages in every frame,
    which the system must clear first: some 3,000 pages, a tenth of a frame's processor time (docs/results.md).

    Returns:
        Whether the allocator accepted the settings; False if it is not that of glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _KEPT_BLOCK) and mallopt(_TRIM_THRESHOLD, _KEPT_IN_ALL))
