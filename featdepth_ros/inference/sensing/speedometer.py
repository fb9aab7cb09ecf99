"""The robot's own measure of its speed: wheel odometry, a twist topic."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.inference.sensing.readings import KEPT, Readings

Floats = NDArray[np.float64]

#: Standard deviation of a speed whose message names none, and the least that is believed, m/s.
UNNAMED_MPS, LEAST_MPS = 0.05, 0.01
#: How fast a robot's speed may change while no reading tells, m/s^2.
_CHANGE_MPS2 = 2.0
#: Seconds between two readings that are bridged: wheel odometry comes at 10 Hz and more.
_LONGEST_GAP_S = 0.25


class Speedometer:
    """Gives the speed of the camera between two frames.

    Args:
        lever: (3,) position of the camera in the frame whose twist is read, metres: a turn moves the camera too.
        most: readings kept.
    """

    def __init__(self, lever: Floats | None = None, most: int = KEPT) -> None:
        self._lever = np.zeros(3) if lever is None else np.asarray(lever, dtype=np.float64)
        self._readings = Readings(6, _LONGEST_GAP_S, most)

    def __len__(self) -> int:
        return len(self._readings)

    def mount(self, lever: Floats) -> None:
        """Say where the camera is, (3,), see above. Any thread."""
        self._lever = np.asarray(lever, dtype=np.float64)

    def add(self, stamp_ns: int, linear: Floats, angular: Floats, variance: float = 0.0) -> None:
        """Take a twist.

        Args:
            stamp_ns: when it was measured.
            linear: (3,) m/s in the frame's own axes.
            angular: (3,) rad/s in the same axes.
            variance: of each component of ``linear``, (m/s)^2; not above 0: not known.
        """
        known = max(variance, LEAST_MPS**2) if variance > 0 else UNNAMED_MPS**2
        self._readings.add(stamp_ns, np.concatenate([linear, angular]), known)

    def between(self, earlier_ns: int, later_ns: int) -> tuple[float, float] | None:
        """Return the camera's mean speed (m/s) and its variance, or None where readings are missing.

        The variance is that of one reading: what wheels get wrong, they get wrong for longer than a frame.
        """
        stretch = self._readings.between(earlier_ns, later_ns)
        if stretch is None:
            return None
        mean = stretch.mean()
        velocity = mean[:3] + np.cross(mean[3:], self._lever)
        share = stretch.held_s / float(stretch.seconds[-1])
        return float(np.linalg.norm(velocity)), stretch.variance + (share * _CHANGE_MPS2 * stretch.held_s) ** 2
