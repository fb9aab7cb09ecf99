"""The camera's rotation between two frames by a gyroscope, whose bias is estimated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.sensing.readings import KEPT, Readings, Stretch

Floats = NDArray[np.float64]

#: Standard deviation of a reading without a variance, and the smallest one that is accepted, rad/s.
UNNAMED_RADPS, LEAST_RADPS = 0.01, 1e-4
#: Prior standard deviation of the bias in rad/s (cheap sensors have 0.1), and its random walk in rad/s per root second.
BIAS_RADPS, BIAS_WANDER = 0.1, 2e-4
#: Standard deviations of the mounting and of the gain, whose errors are proportional to the rotation.
_GAIN = 0.003
#: Assumed change of the rate in times without readings, rad/s^2.
_CHANGE_RADPS2 = 5.0
#: Longest gap in seconds between two readings that is bridged; gyroscopes send 50 Hz and more.
_LONGEST_GAP_S = 0.05
#: Factor on a variance whose errors are correlated from frame to frame. These are the bias in a rotation, and the
#: camera's rotation from which the bias is estimated.
_ALIKE = 10.0
#: The gyroscope is disabled when its mean normalised squared error exceeds the first number, and enabled again below
#: the second. Readings in degrees per second, or in the axes of another frame, cause this.
_CONTRADICTED, _AGREES = 8.0, 4.0
#: Weight of the newest frame in that mean, and the largest error that one frame adds, so that one bad frame fades soon.
_NEWEST, _MOST = 0.2, 50.0


class Gyroscope:
    """Measures the rotation of the camera between two frames.

    The bias is estimated from the rotations of the images, and fastest while the camera stands.

    Args:
        rotation: (3, 3) rotation from the gyroscope's axes to the camera's; None: unknown, without any measurement.
        most: number of kept readings.

    Attributes:
        contradicted: whether it disagrees with the images, so that it is not used.
    """

    def __init__(self, rotation: Floats | None = None, most: int = KEPT) -> None:
        self._rotation = None if rotation is None else np.asarray(rotation, dtype=np.float64)
        self._readings = Readings(3, _LONGEST_GAP_S, most)
        self._bias, self._bias_variance = np.zeros(3), BIAS_RADPS**2
        self._mean_square = 0.0
        self.contradicted = False

    def __len__(self) -> int:
        return len(self._readings)

    def mount(self, rotation: Floats) -> None:
        """Set the mounting ``rotation`` (3, 3), see above. Any thread may call this."""
        self._rotation = np.asarray(rotation, dtype=np.float64)

    @property
    def bias(self) -> tuple[Floats, float]:
        """(3,) bias in rad/s in the gyroscope's axes, and the standard deviation of each component."""
        return self._bias.copy(), float(np.sqrt(self._bias_variance))

    def add(self, stamp_ns: int, rate: Floats, variance: float = 0.0) -> None:
        """Add a reading.

        Args:
            stamp_ns: time of the measurement, nanoseconds.
            rate: (3,) angular velocity in rad/s, axes of the gyroscope.
            variance: variance of each component, (rad/s)^2; 0 or below: unknown.
        """
        known = max(variance, LEAST_RADPS**2) if variance > 0 else UNNAMED_RADPS**2
        self._readings.add(stamp_ns, rate, known)

    def between(self, earlier_ns: int, later_ns: int) -> tuple[Floats, Floats] | None:
        """Return the rotation of T_previous_current (3, 3) of the camera and its covariance (3, 3), rad^2, or None."""
        return None if self.contradicted else self._told(earlier_ns, later_ns)

    def _told(self, earlier_ns: int, later_ns: int) -> tuple[Floats, Floats] | None:
        """Return the measured rotation, also of a disabled gyroscope; see `between`."""
        stretch, mounted = self._readings.between(earlier_ns, later_ns), self._rotation
        if stretch is None or mounted is None:
            return None
        rotation = np.eye(3)
        for step, rate in zip(np.diff(stretch.seconds), _middles(stretch), strict=True):
            rotation = rotation @ se3.rotation_from_vector((rate - self._bias) * step)
        turned = mounted @ rotation @ mounted.T
        seconds = float(stretch.seconds[-1])
        angle = float(np.linalg.norm(se3.vector_from_rotation(turned)))
        variance = self._noise(stretch) + _ALIKE * self._bias_variance * seconds**2 + (_GAIN * angle) ** 2
        return turned, np.eye(3) * variance

    def learn(self, earlier_ns: int, later_ns: int, rotation: Floats, covariance: Floats) -> None:
        """Update the bias by a rotation that was measured in the images.

        Args:
            earlier_ns: stamp of the earlier frame.
            later_ns: stamp of the later frame.
            rotation: (3, 3) rotation of T_previous_current.
            covariance: (3, 3) covariance of this rotation, rad^2.
        """
        stretch, expected = self._readings.between(earlier_ns, later_ns), self._told(earlier_ns, later_ns)
        mounted = self._rotation
        if stretch is None or expected is None or mounted is None:
            return
        seconds = float(stretch.seconds[-1])
        excess = mounted.T @ se3.vector_from_rotation(rotation.T @ expected[0]) / seconds
        angle = float(np.linalg.norm(se3.vector_from_rotation(rotation)))
        seen = _ALIKE * float(np.trace(covariance)) / 3
        variance = (seen + self._noise(stretch) + (_GAIN * angle) ** 2) / seconds**2
        self._bias_variance += BIAS_WANDER**2 * seconds
        square = float(excess @ excess) / (3 * (self._bias_variance + variance))
        self._mean_square += _NEWEST * (min(square, _MOST) - self._mean_square)
        self.contradicted = self._mean_square > (_AGREES if self.contradicted else _CONTRADICTED)
        gain = self._bias_variance / (self._bias_variance + variance)
        self._bias = self._bias + gain * excess
        self._bias_variance *= 1 - gain

    @staticmethod
    def _noise(stretch: Stretch) -> float:
        """Return the variance of the integrated rotation from the readings' noise and from gaps without readings."""
        return (
            stretch.variance * float((np.diff(stretch.seconds) ** 2).sum())
            + (0.5 * _CHANGE_RADPS2 * stretch.held_s**2) ** 2
        )


def _middles(stretch: Stretch) -> Floats:
    """Return the (N - 1, 3) mean rates between consecutive readings."""
    return np.asarray(0.5 * (stretch.values[1:] + stretch.values[:-1]))
