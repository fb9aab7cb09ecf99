"""Reads depth images: 16 bits, one channel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ImageError


@dataclass(frozen=True)
class DepthUnit:
    """Unit of a 16-bit depth image: a depth of 1 m is the value ``per_metre``; values in ``unknown`` are no depth."""

    per_metre: float
    unknown: tuple[int, ...] = (0,)


def read_depth(path: Path, unit: DepthUnit) -> NDArray[np.float64]:
    """Read a 16-bit depth image as (H, W) float64 metres, NaN where unknown.

    Raises:
        ImageError: the file is no image, or not one of 16 bits and one channel.
    """
    import cv2  # imported here, because other packages use only the units of this module

    data = np.fromfile(path, dtype=np.uint8) if path.is_file() else np.zeros(0, dtype=np.uint8)
    raw = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if raw is None:
        raise ImageError(f"depth image {path} cannot be read as an image")
    if raw.dtype != np.uint16 or raw.ndim != 2:
        raise ImageError(
            f"depth image {path} is {raw.dtype} with shape {raw.shape}; expected a 16-bit PNG of one channel "
            "(8-bit images of depth are previews)"
        )
    return np.where(np.isin(raw, unit.unknown), np.nan, raw / unit.per_metre)
