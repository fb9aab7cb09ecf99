"""One frame as the window sees it: the picture's pyramid and the network's depth, fetched only when asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.window import tracks

Floats = NDArray[np.float64]
DepthSource = NDArray[np.float32] | Callable[[], NDArray[np.float32]] | None


class Frame:
    """A frame.

    Args:
        grey: (H, W) uint8.
        camera: pinhole camera of ``grey``.
        stamp_ns: time of exposure, nanoseconds.
        depth: (h, w) float32 z-depth of the same view at any size, or what gives it, or None.
        trusted: (h, w) bool where the depth is trusted; None: everywhere.
    """

    def __init__(
        self,
        grey: NDArray[np.uint8],
        camera: CameraModel,
        stamp_ns: int,
        depth: DepthSource = None,
        trusted: NDArray[np.bool_] | None = None,
    ) -> None:
        self.camera, self.stamp_ns = camera, stamp_ns
        self.pyramid = tracks.pyramid(grey)
        self._depth, self._trusted = depth, trusted

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), pixels."""
        return self.pyramid[0].shape[0], self.pyramid[0].shape[1]

    def depth_at(self, pixels: Floats, nearest: float, farthest: float) -> tuple[Floats, NDArray[np.bool_]] | None:
        """The network's depth at pixels (n, 2) of the picture.

        Returns:
            (n,) depths, clipped to the range, and (n,) whether each is believed; None when there is no depth.
        """
        depth = self._depth() if callable(self._depth) else self._depth
        if depth is None:
            return None
        self._depth = depth
        scale = np.array(depth.shape[::-1]) / np.array(self.size[::-1])
        where = np.rint((pixels + 0.5) * scale - 0.5).astype(np.int64)
        columns, rows = np.clip(where, 0, np.array(depth.shape[::-1]) - 1).T
        found = depth[rows, columns].astype(np.float64)
        told = (found > nearest) & (found < farthest)  # False for NaN
        if self._trusted is not None:
            told &= self._trusted[rows, columns]
        return np.clip(np.where(np.isnan(found), farthest, found), nearest, farthest), told
