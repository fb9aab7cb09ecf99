"""Depth on disk: 16-bit images of one channel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ImageError


@dataclass(frozen=True)
class DepthUnit:
    """What the numbers of a 16-bit depth image mean: ``per_metre`` of them are a metre, ``unknown`` ones no depth."""

    per_metre: float
    unknown: tuple[int, ...] = (0,)


def read_depth(path: Path, unit: DepthUnit) -> NDArray[np.float64]:
    """Read a 16-bit depth image as (H, W) float64 metres, NaN where unknown.

    Raises:
        ImageError: no image, or none of one channel and 16 bits.
    """
    import cv2  # here, so that the rooms that name this module for its units stay light

    data = np.fromfile(path, dtype=np.uint8) if path.is_file() else np.zeros(0, dtype=np.uint8)
    raw = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if raw is None:
        raise ImageError(f"depth image {path} cannot be read as an image")
    if raw.dtype != np.uint16 or raw.ndim != 2:
        raise ImageError(
            f"depth image {path} is {raw.dtype} with shape {raw.shape}; expected a 16-bit PNG of one channel "
            "(8-bit pictures of depth are previews, not depth)"
        )
    return np.where(np.isin(raw, unit.unknown), np.nan, raw / unit.per_metre)
