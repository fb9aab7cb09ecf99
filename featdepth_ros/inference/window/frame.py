"""A frame of the window: the image pyramid, and the network's depth, which is loaded at the first access."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.window import tracks

Floats = NDArray[np.float64]
DepthSource = NDArray[np.float32] | Callable[[], NDArray[np.float32]] | None


class Frame:
    """An image with its network depth.

    Args:
        grey: (H, W) uint8 image.
        camera: pinhole camera of ``grey``.
        stamp_ns: time of exposure, nanoseconds.
        depth: (h, w) float32 z-depth of the same view at any size, or a function that returns it, or None.
        trusted: (h, w) bool mask of the trusted depth; None: everywhere.
        is_inverse: whether ``depth`` is an inverse depth up to a scale and a shift, see `prior`.
        seen: (H, W) bool mask of pixels with image content; None: everywhere.

    Attributes:
        allowed: (H, W) bool mask of accepted positions of points; None: everywhere.
        unit: unit of the network's inverse depth in `inverse_depth_at`. It is the median over the image if the shift is
            unknown, else 1.
    """

    def __init__(
        self,
        grey: NDArray[np.uint8],
        camera: CameraModel,
        stamp_ns: int,
        depth: DepthSource = None,
        trusted: NDArray[np.bool_] | None = None,
        is_inverse: bool = False,
        seen: NDArray[np.bool_] | None = None,
    ) -> None:
        self.camera, self.stamp_ns = camera, stamp_ns
        self.pyramid = tracks.pyramid(grey)
        self.allowed = None if seen is None else tracks.trackable(seen)
        self._depth, self._trusted, self._is_inverse = depth, trusted, is_inverse
        self.unit = 1.0

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), pixels."""
        return self.pyramid[0].shape[0], self.pyramid[0].shape[1]

    @property
    def has_depth(self) -> bool:
        """Whether there is a network's depth. A function that was not called yet may still return None."""
        return self._depth is not None

    def depth_at(self, pixels: Floats, nearest: float, farthest: float) -> tuple[Floats, NDArray[np.bool_]] | None:
        """Return the network's depth at pixels (n, 2) of the image.

        Returns:
            (n,) depths, clipped to the range, and (n,) whether each is valid; None without a depth.
        """
        looked_up = None if self._is_inverse else self._look_up(pixels)
        if looked_up is None:
            return None
        depth, believed = looked_up
        believed &= (depth > nearest) & (depth < farthest)  # False for NaN
        return np.clip(np.where(np.isnan(depth), farthest, depth), nearest, farthest), believed

    def inverse_depth_at(
        self, pixels: Floats, nearest: float, farthest: float
    ) -> tuple[Floats, NDArray[np.bool_]] | None:
        """Return the same as inverse depth in `unit`. The range is in z-depth; a relative network ignores it."""
        if not self._is_inverse:
            depth = self.depth_at(pixels, nearest, farthest)
            return None if depth is None else (1.0 / depth[0], depth[1])
        looked_up = self._look_up(pixels)
        if looked_up is None:
            return None
        inverse_depth, believed = looked_up
        believed &= np.isfinite(inverse_depth) & (inverse_depth >= 0)
        return np.where(believed, inverse_depth, self.unit) / self.unit, believed

    def _look_up(self, pixels: Floats) -> tuple[Floats, NDArray[np.bool_]] | None:
        depth = self._depth() if callable(self._depth) else self._depth
        self._depth = depth
        if depth is None:
            return None
        if self._is_inverse:
            self.unit = max(float(np.nanmedian(depth)), 1e-12)
        scale = np.array(depth.shape[::-1]) / np.array(self.size[::-1])
        where = np.rint((pixels + 0.5) * scale - 0.5).astype(np.int64)
        columns, rows = np.clip(where, 0, np.array(depth.shape[::-1]) - 1).T
        trusted = np.ones(len(rows), dtype=bool) if self._trusted is None else self._trusted[rows, columns].copy()
        return depth[rows, columns].astype(np.float64), trusted
