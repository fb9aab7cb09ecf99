"""The remaining radial error of a calibration: one number, which is estimated together with the motion.

A rectified image is rarely an exact pinhole image. Cvisic et al. (2021, "Recalibrating the KITTI dataset camera setup
for improved odometry accuracy") correct one or two percent of the radius in KITTI. On a straight path it has little
effect. In a turn, the two sides of the image disagree about depth. The map's unit then drifts by ten percent in ninety
degrees.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.inference.window.config import WindowConfig

Floats = NDArray[np.float64]

#: Least standard deviation, because one number does not describe a lens completely.
_LEAST = 0.0005


class Lens:
    """Estimate of the radial error: a measured ray (x, y, 1) is (x, y) / (1 + radial (x^2 + y^2)) in an ideal camera.

    This division model (Fitzgibbon 2001) has a closed form in both directions.

    The estimate of each window updates a prior. A keyframe stays in the window for `keyframes` newer ones and repeats
    the same information each time. So only its share is used, and half of that, because errors of one point are
    correlated.

    Attributes:
        radial: value for which measured rays are corrected.
        error: (1,) correction of ``radial`` that the solver has found since.
        mean, information: mean and inverse variance of the prior of ``error``.
        variance: marginal variance of ``error`` in the last solution; None without one.
    """

    def __init__(self, config: WindowConfig) -> None:
        self.radial = 0.0
        self.error = np.zeros(1)
        self.mean, self.information = 0.0, config.sigma_radial**-2.0
        self.variance: float | None = None

    def ideal(self, seen: Floats) -> Floats:
        """Return the rays (n, 2) x/z, y/z in an ideal camera for measured rays (n, 2)."""
        return np.asarray(seen / (1 + self.radial * (seen**2).sum(axis=1, keepdims=True)))

    def seen(self, ideal: Floats) -> Floats:
        """Return the inverse of `ideal`."""
        root = np.sqrt(np.maximum(1 - 4 * self.radial * (ideal**2).sum(axis=1, keepdims=True), 0.0))
        return np.asarray(2 * ideal / (1 + root))

    def take_over(self, keyframes: int) -> bool:
        """Add the solved error to ``radial`` and update the prior; return whether anything changed."""
        if self.variance is None:
            return False
        solved, prior = self.radial + float(self.error[0]), self.radial + self.mean
        gained = 1.0 / self.variance - self.information
        if gained > 0:
            # The posterior is the weighted mean of the prior and of this window's own estimate.
            alone = (solved / self.variance - prior * self.information) / gained
            gained /= 2.0 * keyframes
            prior = (prior * self.information + alone * gained) / (self.information + gained)
            self.information = min(self.information + gained, _LEAST**-2.0)
        self.radial, self.mean = solved, prior - solved
        self.error[0] = 0.0
        self.variance = None
        return True
