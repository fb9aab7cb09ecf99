"""How the map's unit becomes the published one: a state of its own, with a variance.

The state is the logarithm of the factor. It wanders slowly, because the map's unit drifts. It drifts most while the
camera turns and new points must take over from old ones. Whatever knows metres measures it: the network's scale, the
road plane under a camera of known height, the speed of the robot. A Kalman filter with heavy tails (Student's t) weighs
them.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.inference.window.config import WindowConfig
from featdepth_ros.inference.window.types import ScaleOrigin

#: How far the map's unit wanders a frame: on a straight way, per radian of turn, and while the map is young. The last
#: wears off over so many frames.
WANDER, WANDER_TURN, WANDER_YOUNG, YOUNG_FRAMES = 0.001, 0.06, 0.03, 8.0
#: - `NETWORK_SIGMA`: standard deviation of the logarithm of the network's scale. One network is off by tens of percent
#:   from place to place (docs/results.md).
#: - `ROAD_SIGMA`: standard deviation of the logarithm of one height of the road.
#: - `ROAD_TURN`: how much more a radian of turn in a frame makes the latter. In a curve a vehicle rolls and a road is
#:   banked.
NETWORK_SIGMA, ROAD_SIGMA, ROAD_TURN = 0.2, 0.06, 115.0
#: Standard deviation of one comparison with the robot's speed, beside the speed's own: stamps that jitter.
SPEED_SIGMA = 0.01
#: A network is surer of what is near. Its log depth errs by a part of its own, and by another that grows with distance,
#: since errors of inverse depth are about the same everywhere: by so much for each metre. On rendered streets
#: `compact-nc` is right to 2 % within 15 m, and has 30 to 80 m too near by 7 to 18 %.
NEAR_SIGMA, SIGMA_PER_M = 0.1, 0.02
#: Degrees of freedom of the road's and the speed's errors: few, since some measures are of another plane.
TAIL = 1.0
#: What remains uncertain however often it is measured: slope of the road, calibration.
FLOOR = 0.02
#: Median depth of what is seen, map units, between which a unit is good, and the one that a better unit gives.
USUAL_DEPTHS, GOOD_DEPTH = (0.05, 1000.0), 10.0


class ScaleFilter:
    """Keeps the factor from the map's unit to the published one.

    Args:
        config: says which source to use.
    """

    def __init__(self, config: WindowConfig) -> None:
        self._config = config
        self._network: deque[float] = deque(maxlen=config.scale_keyframes)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._network.clear()
        self._log, self._variance = 0.0, NETWORK_SIGMA**2
        self._log_first_unit = 0.0  # of the unit of the first map, which is published while the scale is relative
        self._age = 0
        self.origin = ScaleOrigin.MAP if self._config.scale == "relative" else ScaleOrigin.NETWORK

    @property
    def factor(self) -> float:
        """Published units per map unit."""
        return math.exp(self._log_first_unit if self._config.scale == "relative" else self._log)

    @property
    def log_variance(self) -> float:
        """Variance of the logarithm of `factor`; 0 while map units are published."""
        return 0.0 if self._config.scale == "relative" else self._variance + FLOOR**2

    @property
    def is_measured(self) -> bool:
        """Whether something better than the network has measured the scale."""
        return self.origin in (ScaleOrigin.ROAD, ScaleOrigin.SPEED)

    def restart(self) -> None:
        """The map begins anew in the old one's unit, as far as that could be carried over."""
        self._age = 0
        self._variance += 0.05**2

    def take_unit(self, log_factor: float) -> None:
        """The map is measured in another unit now, in which lengths are ``exp(log_factor)`` times as many."""
        self._log -= log_factor
        self._log_first_unit -= log_factor
        self._network = deque((log - log_factor for log in self._network), self._network.maxlen)

    def wander(self, turn_rad: float) -> None:
        """Let a frame pass that turned the camera by so much."""
        if self._config.scale == "relative":
            return
        step = WANDER + WANDER_TURN * turn_rad + WANDER_YOUNG * math.exp(-self._age / YOUNG_FRAMES)
        self._age += 1
        self._variance += step * step

    def network(self, inverse_depth: NDArray[np.float64], measured: NDArray[np.float64]) -> None:
        """Take what the network says at a new keyframe of points that the map knows well.

        Args:
            inverse_depth: (n,) their inverse depths by the network, published units; n above 0.
            measured: (n,) their inverse depths in the map, map units.
        """
        self._network.append(network_log_factor(inverse_depth, measured))
        middle = float(np.median(np.array(self._network)))
        if not self.is_measured:
            self._log = middle
            self._variance = NETWORK_SIGMA**2
        elif abs(self._log - middle) > 3 * NETWORK_SIGMA:
            # What measured the scale before is gone or wrong: come back to what the network can still mean.
            self._log += 0.1 * (middle - self._log)

    def road(self, log_height: float, turn_rad: float) -> None:
        """Take a measured height of the camera over the road, the logarithm of map units, from a frame that turned."""
        sigma = ROAD_SIGMA * (1 + ROAD_TURN * turn_rad)
        self._update(math.log(self._config.camera_height_m) - log_height, sigma**2)
        self.origin = ScaleOrigin.ROAD

    def speed(self, distance: float, distance_map: float, distance_variance: float) -> None:
        """Take a distance travelled, published units with its variance, beside the same in map units."""
        if distance <= 0 or distance_map <= 0:
            return
        measured = math.log(distance / distance_map)
        if self.origin is not ScaleOrigin.SPEED:
            # The first one: the network may be off by any factor, so what it said is no reason to doubt the speed.
            self._variance = max(self._variance, (measured - self._log) ** 2)
        self._update(measured, distance_variance / distance**2 + SPEED_SIGMA**2)
        self.origin = ScaleOrigin.SPEED

    def _update(self, measured: float, variance: float) -> None:
        difference = measured - self._log
        weight = min(1.0, (TAIL + 1) / (TAIL + difference**2 / (self._variance + variance)))
        gain = self._variance / (self._variance + variance / weight)
        self._log += gain * difference
        self._variance *= 1 - gain


def log_of_better_unit(usual_depth: float) -> float:
    """Log of how many times as many lengths should be in a better unit of the map; 0: its unit is good.

    A map's unit drifts, and a new map takes over the unit of the last one. The solver has fixed constants, so numbers
    must not grow or shrink for ever.

    Args:
        usual_depth: median depth of what is seen, map units.
    """
    return 0.0 if USUAL_DEPTHS[0] < usual_depth < USUAL_DEPTHS[1] else math.log(GOOD_DEPTH / usual_depth)


def network_log_sigma(depth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of a network's log depth, by the depth in published units."""
    return np.asarray(np.hypot(NEAR_SIGMA, SIGMA_PER_M * depth))


def network_log_factor(inverse_depth: NDArray[np.float64], measured: NDArray[np.float64]) -> float:
    """Log of published units per map unit by a network's depth: a median of points that counts near ones most.

    Args:
        inverse_depth: (n,) inverse depths by the network, published units; n above 0.
        measured: (n,) inverse depths in the map, map units.
    """
    log_factor = np.log(measured / inverse_depth)
    # The geometric mean of both depths: chosen by either one alone, points that err to one side would be taken.
    depth = np.sqrt(math.exp(float(np.median(log_factor))) / (inverse_depth * measured))
    weight = network_log_sigma(depth) ** -2.0
    order = np.argsort(log_factor)
    below = np.cumsum(weight[order])
    return float(log_factor[order][np.searchsorted(below, 0.5 * below[-1])])
