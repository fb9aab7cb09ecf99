"""The radial error that a calibration leaves: one number, solved for with everything else.

A rectified picture is seldom a perfect pinhole: one or two percent of radius is what Cvisic et al. (2021,
"Recalibrating the KITTI dataset camera setup for improved odometry accuracy") mend in KITTI's. It hardly shows on a
straight way. In a turn it makes one side of the picture disagree with the other about depth. The map's unit then drifts
by ten percent in ninety degrees.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.inference.window.config import WindowConfig

Floats = NDArray[np.float64]

#: Least standard deviation: one number does not describe a lens wholly.
_LEAST = 0.0005


class Lens:
    """Belief about the radial error: what is seen at (x, y), z = 1, lies at (x, y) / (1 + radial (x^2 + y^2)).

    This division model (Fitzgibbon 2001) has a closed form both ways.

    What windows tell is added to a prior. A keyframe stays in the window while `keyframes` newer ones come, and tells
    the same each time. So only its share is taken, and half of that, since errors of one point are alike.

    Attributes:
        radial: what is seen is corrected for this.
        error: (1,) found since, by the solver.
        mean, information: of the prior of ``error``.
        variance: marginal of ``error`` as solved last; None before.
    """

    def __init__(self, config: WindowConfig) -> None:
        self.radial = 0.0
        self.error = np.zeros(1)
        self.mean, self.information = 0.0, config.sigma_radial**-2.0
        self.variance: float | None = None

    def ideal(self, seen: Floats) -> Floats:
        """Rays (n, 2) x/z, y/z of an ideal camera."""
        return np.asarray(seen / (1 + self.radial * (seen**2).sum(axis=1, keepdims=True)))

    def seen(self, ideal: Floats) -> Floats:
        """The inverse of `ideal`."""
        root = np.sqrt(np.maximum(1 - 4 * self.radial * (ideal**2).sum(axis=1, keepdims=True), 0.0))
        return np.asarray(2 * ideal / (1 + root))

    def take_over(self, keyframes: int) -> bool:
        """Correct for what was found; returns whether anything changed."""
        if self.variance is None:
            return False
        solved, prior = self.radial + float(self.error[0]), self.radial + self.mean
        gained = 1.0 / self.variance - self.information
        if gained > 0:
            # The posterior is the weighted mean of the prior and of what this window alone tells.
            alone = (solved / self.variance - prior * self.information) / gained
            gained /= 2.0 * keyframes
            prior = (prior * self.information + alone * gained) / (self.information + gained)
            self.information = min(self.information + gained, _LEAST**-2.0)
        self.radial, self.mean = solved, prior - solved
        self.error[0] = 0.0
        self.variance = None
        return True
