"""Data classes of the window's map, and of its solver's inputs and outputs. They hold arrays but no images.

A *place* is the index of a point in the map's arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
#: Log scale and shift of a network's depth, see `Keyframe`.
NetworkScale = tuple[float, float]


@dataclass
class Keyframe:
    """One keyframe.

    Attributes:
        pose: (4, 4) T_camera_map.
        log_scale, shift: of the network's inverse depth d: in the map it is ``exp(-log_scale) (d + shift)``.
        scale_mean, shift_mean: prior means of these, from the known points that the keyframe sees.
        places: (n,) indices of the points that it sees.
        pixels: (n, 2) ideal pixels of these points (`LocalMap.to_ideal`), at the time of the middle row.
        found: (n, 2) measured pixels of these points in the image.
        late: (n, 2) see `Sight`.
    """

    pose: Floats
    log_scale: float
    scale_mean: float
    places: Places
    pixels: Floats
    found: Floats
    late: Floats
    shift: float = 0.0
    shift_mean: float = 0.0


@dataclass(frozen=True)
class Sight:
    """Observations of points in one frame.

    Attributes:
        places: (n,) indices of the points in the map.
        pixels: (n, 2) their pixels in an ideal camera with a global shutter at the time of the middle row.
        late: (n, 2) pixels, offset of the measured position from that one due to a rolling shutter.
    """

    places: Places
    pixels: Floats
    late: Floats

    @staticmethod
    def at(places: Places, pixels: Floats) -> Sight:
        """Return observations of a camera with a global shutter."""
        return Sight(places, pixels, np.zeros_like(pixels))

    def __len__(self) -> int:
        return len(self.places)

    @property
    def found(self) -> Floats:
        """(n, 2) measured positions in ideal pixels (`LocalMap.to_ideal`)."""
        return self.pixels + self.late

    def of(self, places: Places) -> Sight:
        """Return the observations of ``places`` (n,), all of which must be observed, in that order."""
        order = np.argsort(self.places)
        return self.chosen(order[np.searchsorted(self.places, places, sorter=order)])

    def chosen(self, which: NDArray[np.bool_] | Places) -> Sight:
        """Return the observations that a mask or an array of positions ``which`` (n,) selects."""
        return Sight(self.places[which], self.pixels[which], self.late[which])

    def moved(self, places: Places) -> Sight:
        """Return the same with new indices: ``places`` (old N,) has the new index of each point, -1 if removed."""
        moved = Sight(places[self.places], self.pixels, self.late)
        return moved.chosen(moved.places >= 0)

    @staticmethod
    def none() -> Sight:
        """Return a value without observations."""
        return Sight.at(np.zeros(0, dtype=np.int64), np.zeros((0, 2)))


@dataclass(frozen=True)
class KnownMotion:
    """A measurement of the newest motion by another sensor.

    Attributes:
        motion: (4, 4) T_newest_previous, map units.
        information: (6, 6) inverse of its covariance (translation, rotation).
    """

    motion: Floats
    information: Floats


@dataclass(frozen=True)
class Solution:
    """Result of `LocalMap.adjust`.

    Attributes:
        poses: (4, 4) poses of the frames that are not keyframes.
        covariance: (12, 12) of the perturbations (translation, rotation) of the previous and the newest frame's pose.
    """

    poses: list[Floats]
    covariance: Floats
