"""Filter of points for costmaps: by height, by range, and with one point per voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Bits of a voxel's index along one axis, enough for 10 km with voxels of 1 cm.
_BITS = 21
#: Offset that makes indices positive.
_MIDDLE = 1 << (_BITS - 1)


@dataclass(frozen=True)
class CloudFilter:
    """Settings of the filter.

    Attributes:
        min_height_m, max_height_m: limits along z of the base frame, metres.
        max_range_m: largest distance from the camera, metres; 0: no limit.
        voxel_m: edge of the voxels, which keep one point each, metres; 0: all points stay.
    """

    min_height_m: float
    max_height_m: float
    max_range_m: float
    voxel_m: float

    def kept(self, points: NDArray[np.float32], T_base_camera: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which points stay, (N,) bool; points with NaN do not.

        Args:
            points: (N, 3 or more) x, y, z in optical axes, metres; other columns are ignored.
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
    """Return which points (N, 3) are the first in their voxel, (N,) bool."""
    with np.errstate(over="ignore"):
        cell = np.clip(np.floor(xyz / edge_m), -_MIDDLE, _MIDDLE - 1).astype(np.int64) + _MIDDLE
    number = (cell[:, 0] << 2 * _BITS) | (cell[:, 1] << _BITS) | cell[:, 2]
    first = np.zeros(len(xyz), bool)
    first[np.unique(number, return_index=True)[1]] = True
    return first
