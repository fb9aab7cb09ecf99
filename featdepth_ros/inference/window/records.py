"""What the window's memory holds and what its solver is told and says. Arrays; no images."""

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
        log_scale, shift: of the network: inverse depth in the map is ``exp(-log_scale) (told + shift)``.
        scale_mean, shift_mean: the same before solving: what the points that it saw again said.
        places: (n,) points it saw.
        pixels: (n, 2) where, ideal pixels (`LocalMap.to_ideal`).
        found: (n, 2) where, pixels of the picture.
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
    """Points seen in one frame.

    Attributes:
        places: (n,) in the map.
        pixels: (n, 2) where an ideal camera would have seen them.
        late: (n, 2) pixels, how far from there they were found because their rows were not exposed with the middle one.
    """

    places: Places
    pixels: Floats
    late: Floats

    @staticmethod
    def at(places: Places, pixels: Floats) -> Sight:
        """Points seen by a camera that exposes all rows at once."""
        return Sight(places, pixels, np.zeros_like(pixels))

    def __len__(self) -> int:
        return len(self.places)

    @property
    def found(self) -> Floats:
        """(n, 2) ideal pixels (`LocalMap.to_ideal`) where they were found."""
        return self.pixels + self.late

    def of(self, places: Places) -> Sight:
        """Points (n,), all of which are among these, in their order."""
        order = np.argsort(self.places)
        return self.chosen(order[np.searchsorted(self.places, places, sorter=order)])

    def chosen(self, which: NDArray[np.bool_] | Places) -> Sight:
        """Those where ``which`` (n,) holds, or those at such positions."""
        return Sight(self.places[which], self.pixels[which], self.late[which])

    def moved(self, places: Places) -> Sight:
        """The same after the map was rearranged: ``places`` (N before,) tells where each went, -1 for gone."""
        moved = Sight(places[self.places], self.pixels, self.late)
        return moved.chosen(moved.places >= 0)

    @staticmethod
    def none() -> Sight:
        """Nothing seen."""
        return Sight.at(np.zeros(0, dtype=np.int64), np.zeros((0, 2)))


@dataclass(frozen=True)
class KnownMotion:
    """What else is known of the newest motion.

    Attributes:
        motion: (4, 4) T_newest_previous, map units.
        information: (6, 6) inverse of its covariance (translation, rotation).
    """

    motion: Floats
    information: Floats


@dataclass(frozen=True)
class Solution:
    """What `LocalMap.adjust` found.

    Attributes:
        poses: (4, 4) each, of the frames that are no keyframes.
        covariance: (12, 12) of the perturbations (translation, rotation) of the previous and the newest frame's pose.
    """

    poses: list[Floats]
    covariance: Floats
