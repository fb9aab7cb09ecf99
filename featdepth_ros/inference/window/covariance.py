"""Covariance of the newest motion, from the window's marginal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3

Floats = NDArray[np.float64]

#: Of a motion that was not measured: what a fast vehicle does in a second, units and radians.
_UNKNOWN, _UNKNOWN_RAD = 30.0, 1.0
#: Least standard deviations: errors that no residual shows (calibration, moments of exposure), units and radians.
_FLOOR, _FLOOR_RAD = 1e-4, 2e-5


def motion_covariance(T_previous_current: Floats, joint: Floats) -> Floats:
    """Covariance of a motion from that of two poses.

    Args:
        T_previous_current: (4, 4).
        joint: (12, 12) of the perturbations (translation, rotation) of T_previous_map and T_current_map.

    Returns:
        (6, 6) of the position and the rotation of the current camera in the previous camera's axes.
    """
    rotation, position = T_previous_current[:3, :3], T_previous_current[:3, 3]
    jacobian = np.zeros((6, 12))
    jacobian[:3, :3] = jacobian[3:, 3:6] = np.eye(3)
    jacobian[:3, 3:6] = -se3.hat(position)
    jacobian[:3, 6:9] = jacobian[3:, 9:] = -rotation
    return np.asarray(jacobian @ joint @ jacobian.T)


def published_covariance(covariance: Floats, published: Floats, scale: float, scale_log_variance: float) -> Floats:
    """Bring (6, 6) from map units to published ones, with the uncertainty of the common scale."""
    factors = np.array([scale] * 3 + [1.0] * 3)
    result = covariance * np.outer(factors, factors)
    result[:3, :3] += scale_log_variance * np.outer(published[:3, 3], published[:3, 3])
    result += np.diag([_FLOOR**2] * 3 + [_FLOOR_RAD**2] * 3)
    return np.asarray(0.5 * (result + result.T))


def unknown_covariance() -> Floats:
    """(6, 6) of a motion about which nothing is known."""
    return np.diag([_UNKNOWN**2] * 3 + [_UNKNOWN_RAD**2] * 3)
