"""Covariance of the newest motion, from the window's marginal covariance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3

Floats = NDArray[np.float64]

#: Factor from a track's residual to its effective noise. Errors of neighbouring points are correlated, and so are
#: those of one point in successive frames. It was measured on rendered drives (docs/results.md). The second value is
#: the least noise in pixels, because the depth of a point with two or three observations absorbs most residuals.
ALIKE, LEAST_PX = 2.15, 0.28
#: Residual of a static, sharp image, pixels. Rolling shutter, motion blur and wrong stamps cause larger residuals.
#: These errors are common to many points, so that the number of points does not average them out.
SHARP_PX = 0.2
#: Share of the image's distortion by a rolling shutter that acts like a rotation of the camera.
BENT = 0.6
#: Standard deviations of an unknown motion: that of a fast vehicle in a second, units and radians.
_UNKNOWN, _UNKNOWN_RAD = 30.0, 1.0
#: Least standard deviations, units and radians. They cover errors without residuals, in calibration and exposure times.
_FLOOR, _FLOOR_RAD = 1e-4, 2e-5

#: Covariance of a given motion.
KNOWN_COVARIANCE = np.diag([_FLOOR**2] * 3 + [_FLOOR_RAD**2] * 3)


def motion_covariance(
    T_previous_current: Floats,
    joint: Floats,
    residual_px: float,
    sigma_px: float,
    focal_px: float,
    depth: float,
    sightings: int,
    bent_px: float = 0.0,
) -> Floats:
    """Return the covariance of a motion from that of two poses.

    Args:
        T_previous_current: (4, 4) motion, map units.
        joint: (12, 12) of the perturbations (translation, rotation) of T_previous_map and T_current_map.
        residual_px: median reprojection error of the newest frame, pixels.
        sigma_px: noise of a track that the solver assumed, pixels.
        focal_px: focal length, pixels.
        depth: median depth of the points, unit of the motion.
        sightings: largest number of observations of a point besides its host keyframe. With few observations, the
            estimated depth absorbs a part of the residuals, which then show too little noise.
        bent_px: distortion of the image while the camera turns, see `trust.TrackNoise`.

    Returns:
        (6, 6) covariance of the position and the rotation of the current camera in the previous camera's axes.
    """
    rotation, position = T_previous_current[:3, :3], T_previous_current[:3, 3]
    jacobian = np.zeros((6, 12))
    jacobian[:3, :3] = jacobian[3:, 3:6] = np.eye(3)
    jacobian[:3, 3:6] = -se3.hat(position)
    jacobian[:3, 6:9] = jacobian[3:, 9:] = -rotation
    residual_px = residual_px if np.isfinite(residual_px) else sigma_px
    residual_px *= float(np.sqrt(2 * sightings / (2 * sightings - 1)))
    # The median of a Rayleigh distribution is 1.177 times the standard deviation of one coordinate.
    noise_px = max(ALIKE * min(residual_px, SHARP_PX) / 1.177, LEAST_PX)
    common = ALIKE * np.sqrt(max(residual_px**2 - SHARP_PX**2, 0.0)) / 1.177 / focal_px
    # The readout time is often unknown, so a distortion below the noise has a smaller weight.
    bent_px *= bent_px / float(np.hypot(bent_px, noise_px))
    common = float(np.hypot(common, BENT * bent_px / focal_px))
    averaged = jacobian @ joint @ jacobian.T * (noise_px / sigma_px) ** 2
    return np.asarray(averaged + np.diag([(common * depth) ** 2] * 3 + [common**2] * 3))


def published_covariance(covariance: Floats, published: Floats, scale: float, scale_log_variance: float) -> Floats:
    """Convert a (6, 6) covariance from map units to published units, and add the uncertainty of the common scale."""
    factors = np.array([scale] * 3 + [1.0] * 3)
    result = covariance * np.outer(factors, factors)
    result[:3, :3] += scale_log_variance * np.outer(published[:3, 3], published[:3, 3])
    result += np.diag([_FLOOR**2] * 3 + [_FLOOR_RAD**2] * 3)
    return np.asarray(0.5 * (result + result.T))


def unknown_covariance() -> Floats:
    """Return the (6, 6) covariance of an unknown motion."""
    return np.diag([_UNKNOWN**2] * 3 + [_UNKNOWN_RAD**2] * 3)
