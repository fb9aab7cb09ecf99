"""Filter of the factor from the map's unit to the published unit, with its variance.

The state is the logarithm of the factor. Its process noise is the drift of the map's unit, which is largest while the
camera turns and new points replace old ones. Three sources measure it: the network's scale, the road plane with the
known height of the camera, and the speed of the robot. They enter a Kalman filter with heavy tails (Student's t).
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.inference.window.config import WindowConfig
from featdepth_ros.inference.window.types import ScaleOrigin

#: Drift of the log unit per frame: on a straight path, per radian of rotation, and for a new map. The last one decays
#: with this time constant in frames.
WANDER, WANDER_TURN, WANDER_YOUNG, YOUNG_FRAMES = 0.001, 0.06, 0.03, 8.0
#: - `NETWORK_SIGMA`: standard deviation of the network's log scale. The scale of one network differs by tens of percent
#:   between places (docs/results.md).
#: - `ROAD_SIGMA`: standard deviation of one log height over the road.
#: - `ROAD_TURN`: relative increase of the latter per radian of rotation in a frame. In a curve, a vehicle rolls and a
#:   road is banked.
NETWORK_SIGMA, ROAD_SIGMA, ROAD_TURN = 0.2, 0.06, 115.0
#: Standard deviation of one comparison with the robot's speed due to jitter of stamps, without the speed's own noise.
SPEED_SIGMA = 0.01
#: Standard deviation of a network's log depth: a constant part, and a part per metre of depth. Errors of inverse depth
#: are about the same everywhere, so near depths are more accurate. On rendered streets, earlier weights were right to
#: 2 % within 15 m; from 30 to 80 m they were too near by 7 to 18 %.
NEAR_SIGMA, SIGMA_PER_M = 0.1, 0.02
#: Degrees of freedom of the errors of road and speed. They are few, because some measurements are of another plane.
TAIL = 1.0
#: Standard deviation that remains after any number of measurements, due to the road's slope and the calibration.
FLOOR = 0.02
#: Accepted range of the median depth in map units, and its value after a change of the unit.
USUAL_DEPTHS, GOOD_DEPTH = (0.05, 1000.0), 10.0


class ScaleFilter:
    """Estimates the factor from the map's unit to the published unit.

    Args:
        config: settings with the source of the scale.
    """

    def __init__(self, config: WindowConfig) -> None:
        self._config = config
        self._network: deque[float] = deque(maxlen=config.scale_keyframes)
        self.reset()

    def reset(self) -> None:
        """Forget all measurements."""
        self._network.clear()
        self._log, self._variance = 0.0, NETWORK_SIGMA**2
        self._log_first_unit = 0.0  # log unit of the first map, which is published while the scale is relative
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
        """Whether road or speed have measured the scale, which are better than the network."""
        return self.origin in (ScaleOrigin.ROAD, ScaleOrigin.SPEED)

    def restart(self) -> None:
        """Start a new map, which keeps the old unit with some error."""
        self._age = 0
        self._variance += 0.05**2

    def take_unit(self, log_factor: float) -> None:
        """Adapt to a change of the map's unit that multiplies its lengths by ``exp(log_factor)``."""
        self._log -= log_factor
        self._log_first_unit -= log_factor
        self._network = deque((log - log_factor for log in self._network), self._network.maxlen)

    def wander(self, turn_rad: float) -> None:
        """Add the drift of one frame, in which the camera rotated by ``turn_rad``."""
        if self._config.scale == "relative":
            return
        step = WANDER + WANDER_TURN * turn_rad + WANDER_YOUNG * math.exp(-self._age / YOUNG_FRAMES)
        self._age += 1
        self._variance += step * step

    def network(self, inverse_depth: NDArray[np.float64], measured: NDArray[np.float64]) -> None:
        """Update with the network's depth of well-known points in a new keyframe.

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
            # The better source is gone or wrong, so the state returns towards the network's range.
            self._log += 0.1 * (middle - self._log)

    def road(self, log_height: float, turn_rad: float) -> None:
        """Update with a log height of the camera over the road, map units, of a frame that rotated by ``turn_rad``."""
        sigma = ROAD_SIGMA * (1 + ROAD_TURN * turn_rad)
        self._update(math.log(self._config.camera_height_m) - log_height, sigma**2)
        self.origin = ScaleOrigin.ROAD

    def speed(self, distance: float, distance_map: float, distance_variance: float) -> None:
        """Update with a travelled distance and its variance in published units, and the same distance in map units."""
        if distance <= 0 or distance_map <= 0:
            return
        measured = math.log(distance / distance_map)
        if self.origin is not ScaleOrigin.SPEED:
            # At the first speed, the network's scale may be wrong by any factor, so it must not outweigh the speed.
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
    """Return the log factor that brings the map's lengths into a good range; 0 if they already are.

    A map's unit drifts, and a new map takes over the unit of the last one. The solver has fixed constants, so lengths
    must not grow or shrink without limit.

    Args:
        usual_depth: median depth of the observed points, map units.
    """
    return 0.0 if USUAL_DEPTHS[0] < usual_depth < USUAL_DEPTHS[1] else math.log(GOOD_DEPTH / usual_depth)


def network_log_sigma(depth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviation of a network's log depth for a depth in published units."""
    return np.asarray(np.hypot(NEAR_SIGMA, SIGMA_PER_M * depth))


def network_log_factor(inverse_depth: NDArray[np.float64], measured: NDArray[np.float64]) -> float:
    """Return the log of published units per map unit by a network's depth: a median with larger weights of near points.

    Args:
        inverse_depth: (n,) inverse depths by the network, published units; n above 0.
        measured: (n,) inverse depths in the map, map units.
    """
    log_factor = np.log(measured / inverse_depth)
    # The weights use the geometric mean of both depths, because either one alone would bias the median.
    depth = np.sqrt(math.exp(float(np.median(log_factor))) / (inverse_depth * measured))
    weight = network_log_sigma(depth) ** -2.0
    order = np.argsort(log_factor)
    below = np.cumsum(weight[order])
    return float(log_factor[order][np.searchsorted(below, 0.5 * below[-1])])
