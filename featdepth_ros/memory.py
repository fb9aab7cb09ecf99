"""How the process gives memory back. Programs call it; importing the package sets nothing."""

from __future__ import annotations

import ctypes

#: Parameters of glibc's mallopt, as <malloc.h> numbers them.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: Blocks up to so many bytes are kept when they are freed: the most that every glibc takes. It covers the maps of a
#: 1080p picture in float32.
_KEPT_BLOCK = 32 * 1024 * 1024
#: Free memory beyond so many bytes goes back to the system.
_KEPT_IN_ALL = 512 * 1024 * 1024


def keep_freed_memory() -> bool:
    """Let the allocator keep what is freed, up to half a gigabyte, for the next frame.

    By default glibc gives large blocks back at once. The networks' maps then get fresh pages in every frame, which the
    system must clear first: some 3,000 pages, a tenth of a frame's processor time (docs/results.md).

    Returns:
        Whether the allocator took it: False where it is not glibc's.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _KEPT_BLOCK) and mallopt(_TRIM_THRESHOLD, _KEPT_IN_ALL))
