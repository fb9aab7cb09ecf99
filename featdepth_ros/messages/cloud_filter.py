"""Points for costmaps: those in a band of heights, within a range, one for each cube of space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Bits of a cube's number along one axis: cubes of 1 cm reach 10 km.
_BITS = 21
#: Numbers are made positive by this.
_MIDDLE = 1 << (_BITS - 1)


@dataclass(frozen=True)
class CloudFilter:
    """Which points stay.

    Attributes:
        min_height_m, max_height_m: along z of the base frame.
        max_range_m: distance from the camera; 0: any.
        voxel_m: edge of the cubes of which each keeps one point; 0: all points stay.
    """

    min_height_m: float
    max_height_m: float
    max_range_m: float
    voxel_m: float

    def kept(self, points: NDArray[np.float32], T_base_camera: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which of the points (N, 3 or more; optical axes) stay, (N,); those with NaN do not.

        Args:
            points: x, y, z and whatever follows, metres.
            T_base_camera: (4, 4) pose of the camera; its z axis points up.
        """
        xyz = points[:, :3]
        up, above = T_base_camera[2, :3].astype(np.float32), np.float32(T_base_camera[2, 3])
        with np.errstate(invalid="ignore"):
            height = xyz @ up + above
            stay = (height >= self.min_height_m) & (height <= self.max_height_m)  # False for NaN
            if self.max_range_m > 0:
                stay &= np.einsum("ij,ij->i", xyz, xyz) <= self.max_range_m**2
        if self.voxel_m > 0:
            stay[np.flatnonzero(stay)[~_first_of_each(xyz[stay], self.voxel_m)]] = False
        return np.asarray(stay)


def _first_of_each(xyz: NDArray[np.float32], edge_m: float) -> NDArray[np.bool_]:
    """Return which points (N, 3) are the first in their cube."""
    with np.errstate(over="ignore"):
        cell = np.clip(np.floor(xyz / edge_m), -_MIDDLE, _MIDDLE - 1).astype(np.int64) + _MIDDLE
    number = (cell[:, 0] << 2 * _BITS) | (cell[:, 1] << _BITS) | cell[:, 2]
    first = np.zeros(len(xyz), bool)
    first[np.unique(number, return_index=True)[1]] = True
    return first
