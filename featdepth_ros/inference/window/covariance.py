"""Covariance of the newest motion, from the window's marginal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3

Floats = NDArray[np.float64]

#: How many times larger a track's error acts than its residuals show. Neighbours' errors are alike, and so are those of
#: one point in successive frames. Measured on rendered drives (docs/results.md). And the least noise, pixels: depths of
#: points that were seen two or three times take up most of what residuals would show.
ALIKE, LEAST_PX = 2.15, 0.28
#: Residuals of a still and sharp picture, pixels. What is above comes from rows exposed one after another, smear, and
#: frames that are not where their stamps say. It is common to many points, so that their number does not average it
#: away.
SHARP_PX = 0.2
#: Share of a bent picture that turns the camera.
BENT = 0.6
#: Of a motion that was not measured: what a fast vehicle does in a second, units and radians.
_UNKNOWN, _UNKNOWN_RAD = 30.0, 1.0
#: Least standard deviations: errors that no residual shows (calibration, moments of exposure), units and radians.
_FLOOR, _FLOOR_RAD = 1e-4, 2e-5

#: Of a motion that was given.
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
    """Covariance of a motion from that of two poses.

    Args:
        T_previous_current: (4, 4).
        joint: (12, 12) of the perturbations (translation, rotation) of T_previous_map and T_current_map.
        residual_px: median reprojection error of the newest frame, pixels.
        sigma_px: noise of a track that the solver assumed, pixels.
        focal_px: focal length, pixels.
        depth: median depth of the points, unit of the motion.
        sightings: how often a point was seen at most, beside the frame that it comes from. A point's own depth takes
            one of the two residuals of each sighting, so residuals of few sightings show too little noise.
        bent_px: how far a turning camera bends the picture, see `trust.TrackNoise`.

    Returns:
        (6, 6) of the position and the rotation of the current camera in the previous camera's axes.
    """
    rotation, position = T_previous_current[:3, :3], T_previous_current[:3, 3]
    jacobian = np.zeros((6, 12))
    jacobian[:3, :3] = jacobian[3:, 3:6] = np.eye(3)
    jacobian[:3, 3:6] = -se3.hat(position)
    jacobian[:3, 6:9] = jacobian[3:, 9:] = -rotation
    residual_px = residual_px if np.isfinite(residual_px) else sigma_px
    residual_px *= float(np.sqrt(2 * sightings / (2 * sightings - 1)))
    # The median of a Rayleigh distribution is 1.177 times the deviation of one coordinate.
    noise_px = max(ALIKE * min(residual_px, SHARP_PX) / 1.177, LEAST_PX)
    common = ALIKE * np.sqrt(max(residual_px**2 - SHARP_PX**2, 0.0)) / 1.177 / focal_px
    # The readout time is not known, most are none: what may be bent by less than the noise counts the less.
    bent_px *= bent_px / float(np.hypot(bent_px, noise_px))
    common = float(np.hypot(common, BENT * bent_px / focal_px))
    averaged = jacobian @ joint @ jacobian.T * (noise_px / sigma_px) ** 2
    return np.asarray(averaged + np.diag([(common * depth) ** 2] * 3 + [common**2] * 3))


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
