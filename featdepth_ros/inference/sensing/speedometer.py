"""The robot's measured speed, such as wheel odometry."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.inference.sensing.readings import KEPT, Readings

Floats = NDArray[np.float64]

#: Standard deviation of a speed without a variance, and the smallest one that is accepted, m/s.
UNNAMED_MPS, LEAST_MPS = 0.05, 0.01
#: Assumed change of the speed in times without readings, m/s^2.
_CHANGE_MPS2 = 2.0
#: Longest gap in seconds between two readings that is bridged; wheel odometry sends 10 Hz and more.
_LONGEST_GAP_S = 0.25


class Speedometer:
    """Measures the speed of the camera between two frames.

    Args:
        lever: (3,) position of the camera in the frame of the twist, metres, because rotation moves the camera, too.
        most: number of kept readings.
    """

    def __init__(self, lever: Floats | None = None, most: int = KEPT) -> None:
        self._lever = np.zeros(3) if lever is None else np.asarray(lever, dtype=np.float64)
        self._readings = Readings(6, _LONGEST_GAP_S, most)

    def __len__(self) -> int:
        return len(self._readings)

    def mount(self, lever: Floats) -> None:
        """Set the position ``lever`` (3,) of the camera, see above. Any thread may call this."""
        self._lever = np.asarray(lever, dtype=np.float64)

    def add(self, stamp_ns: int, linear: Floats, angular: Floats, variance: float = 0.0) -> None:
        """Add a twist.

        Args:
            stamp_ns: time of the measurement, nanoseconds.
            linear: (3,) linear velocity in m/s, axes of the frame.
            angular: (3,) angular velocity in rad/s, axes of the frame.
            variance: variance of each component of ``linear``, (m/s)^2; 0 or below: unknown.
        """
        known = max(variance, LEAST_MPS**2) if variance > 0 else UNNAMED_MPS**2
        self._readings.add(stamp_ns, np.concatenate([linear, angular]), known)

    def between(self, earlier_ns: int, later_ns: int) -> tuple[float, float] | None:
        """Return the camera's mean speed (m/s) and its variance; None if readings are missing.

        The variance is that of one reading, because errors of wheels last longer than a frame.
        """
        stretch = self._readings.between(earlier_ns, later_ns)
        if stretch is None:
            return None
        mean = stretch.mean()
        velocity = mean[:3] + np.cross(mean[3:], self._lever)
        share = stretch.held_s / float(stretch.seconds[-1])
        return float(np.linalg.norm(velocity)), stretch.variance + (share * _CHANGE_MPS2 * stretch.held_s) ** 2
