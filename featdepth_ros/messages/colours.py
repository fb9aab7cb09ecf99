"""Coloured depth images for display: near is bright, far is dark, and the range follows the scene."""

from __future__ import annotations

import math
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

#: Percentiles of depth at the ends of the range of colours.
_PERCENTILES = (2.0, 98.0)
#: Share of the change of range that each frame applies, so that the image does not flicker.
_FOLLOWED = 0.1
#: Least ratio of far to near, since a wall can fill the image with one depth.
_LEAST_RATIO = 1.5


def depth_colours(depth: NDArray[np.float32], near: float, far: float) -> NDArray[np.uint8]:
    """Return a depth map as colours, (h, w, 3) uint8 RGB, linear in inverse depth; near is bright.

    Args:
        depth: (h, w) depth in any unit, clipped to ``near`` and ``far``; NaN is black.
        near: depth of the brightest colour, above 0.
        far: depth of the darkest colour, above ``near``.
    """
    inverse = (1.0 / np.clip(depth, near, far) - 1.0 / far) / (1.0 / near - 1.0 / far)
    shade = (np.nan_to_num(inverse, nan=0.0) * 255).astype(np.uint8)
    # Three times as fast as applyColorMap on a large picture.
    return np.asarray(cv2.LUT(cv2.merge([shade, shade, shade]), _table()), dtype=np.uint8)


@cache
def _table() -> NDArray[np.uint8]:
    """Return the colour table (1, 256, 3) RGB."""
    steps = np.arange(256, dtype=np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(steps, cv2.COLORMAP_MAGMA).reshape(1, 256, 3)[..., ::-1])


class SceneRange:
    """Range of depth for the colours of a running scene. It adapts slowly."""

    def __init__(self) -> None:
        self._log: NDArray[np.float64] | None = None

    def update(self, depth: NDArray[np.float32]) -> tuple[float, float]:
        """Update with a frame and return (near, far); a frame without finite depth changes nothing.

        Args:
            depth: (h, w) depth; NaN and infinities are ignored.
        """
        sample = depth[::2, ::2]
        sample = sample[np.isfinite(sample) & (sample > 0)]
        if sample.size:
            now = np.log(np.percentile(sample, _PERCENTILES))
            self._log = now if self._log is None else self._log + _FOLLOWED * (now - self._log)
        if self._log is None:
            return 1.0, _LEAST_RATIO
        near, far = (math.exp(value) for value in self._log)
        return near, max(far, near * _LEAST_RATIO)
