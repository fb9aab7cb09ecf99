"""Corrects the information of the map's points by their residuals and their parallax.

The solver's variances assume independent errors of one size. But errors of one point in successive frames are
correlated. Some points are on edges, reflections or moving objects. And a rolling shutter or a lens distorts the image
while the camera turns.

So a point's variance is scaled by its own residuals, with the usual residual as a prior worth a few observations. It
also has a lower limit: the noise of one observation over the point's largest parallax. A point whose parallax is within
the noise has no information. A camera that rotates on the spot therefore measures no depth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.inference.window.local_map import LocalMap
from featdepth_ros.inference.window.metres.scale import network_log_sigma
from featdepth_ros.inference.window.records import Sight
from featdepth_ros.inference.window.types import WindowPoints

Floats = NDArray[np.float64]

#: Least ratio of parallax to noise of a point with information; weight of the usual residual, in observations.
LEAST_PARALLAX, USUAL_WORTH = 3.0, 4.0
#: Noise of a track: factor on the usual residual, and the least noise, pixels.
NOISE_RESIDUAL, LEAST_PX = 1.3, 0.05
#: Distortion of the image while the camera turns, in four values:
#:
#: - `BENT_S`: seconds of rotation, if the readout time is unknown. It is a tenth of the readout of common sensors.
#: - `BENT_SHARE`: the same as a share of a known readout time.
#: - `BENT_RESIDUAL_PX`: residual below which the distortion is proportionally smaller, pixels.
#: - `BENT_ALIKE`: number of points of a region with the same error.
BENT_S, BENT_SHARE, BENT_RESIDUAL_PX, BENT_ALIKE = 0.0025, 0.03, 0.3, 20.0

#: - `GROSS`: difference of log depth between point and network that is gross: a factor of three. On ordinary drives, up
#:   to a quarter of the points differ by two, due to errors of the network; hardly any differ by three.
#: - `GROSS_SIGMAS`: the difference must also exceed so many standard deviations of the network's log depth. These are
#:   large for far points: the network puts hills at 400 m to 40 to 60 m.
#: - `DOUBT`: shares of gross points at which doubt begins, and at which it is complete.
#: - `SAY_PX`: least parallax of a point that is compared, pixels.
#: - `SAY_POINTS`: least number of points for a share.
#: - `DOUBT_SHARE`: share of the newest frame in the running share.
GROSS, GROSS_SIGMAS, DOUBT, SAY_PX, SAY_POINTS, DOUBT_SHARE = 1.1, 2.0, (0.04, 0.08), 3.0, 20, 0.2
#: Share of the newest frame in the running mean of squared residuals.
RESIDUAL_SHARE = 0.05
#: Standard deviation of the camera's speed at full doubt, in median depths per second.
DOUBT_SPEED = 1.0


class Doubt:
    """Detects that the tracked points move along with the camera, as lorries in a traffic jam do.

    The tracks alone do not show this: such points seem far away, and the road seems near. The network's depth does. The
    window is not trusted if many points differ from it by a factor of three.

    Attributes:
        share: running share of points with a gross difference. It rises at once and falls slowly.
    """

    def __init__(self) -> None:
        self.share = 0.0

    def take(self, off: Floats, measured: Floats, told: Floats) -> None:
        """Update the share with a frame's points.

        Args:
            off: (n,) log ratio of measured to predicted inverse depth.
            measured: (n, 5) results of the solver, see `compiled.solver.adjust`.
            told: (n,) depth that the network predicts, published units.
        """
        has_say = measured[:, 2] > SAY_PX
        off, told = off[has_say], told[has_say]
        if len(off) >= SAY_POINTS:
            much = np.maximum(GROSS, GROSS_SIGMAS * network_log_sigma(told))
            gross = float(np.mean(np.abs(off - np.median(off)) > much))
            self.share = max(gross, self.share + DOUBT_SHARE * (gross - self.share))

    @property
    def degree(self) -> float:
        """Degree of doubt, 0 to 1; at 1 the window is not trusted at all."""
        return float(np.clip((self.share - DOUBT[0]) / (DOUBT[1] - DOUBT[0]), 0.0, 1.0))


class UsualResidual:
    """Running root mean square of the frames' residuals.

    Attributes:
        px: the root mean square, pixels; 0 before the first frame.
    """

    def __init__(self) -> None:
        self.px = 0.0

    def take(self, residual_px: float) -> float:
        """Update with a frame's residual in pixels, and return the larger of it and the usual one; NaN stays NaN."""
        if math.isnan(residual_px):
            return residual_px
        share = RESIDUAL_SHARE if self.px > 0.0 else 1.0
        self.px = math.sqrt(self.px**2 * (1 - share) + residual_px**2 * share)
        return max(residual_px, self.px)


@dataclass(frozen=True)
class TrackNoise:
    """Noise of a track.

    Attributes:
        own_px: independent noise of each point, pixels.
        bent_px: distortion that is common to a region of the image, pixels.
    """

    own_px: float
    bent_px: float

    @staticmethod
    def of(residual_px: float, turn_radps: float, focal_px: float, readout_s: float) -> TrackNoise:
        """Return the noise at an angular speed of the camera.

        Args:
            residual_px: usual root mean square reprojection error, pixels.
            turn_radps: angular speed of the camera, rad/s.
            focal_px: focal length, pixels.
            readout_s: readout time of the rows, seconds; 0: unknown.
        """
        bent_s = BENT_S if readout_s == 0.0 else BENT_SHARE * readout_s
        bent_px = bent_s * turn_radps * focal_px * min(1.0, residual_px / BENT_RESIDUAL_PX)
        return TrackNoise(max(NOISE_RESIDUAL * residual_px, LEAST_PX), bent_px)


def trusted_information(measured: Floats, sigma_px: float, usual_px: float, noise: TrackNoise) -> Floats:
    """Return the corrected information of each point's log depth, (n,).

    Args:
        measured: (n, 5) results of the solver, see `compiled.solver.adjust`.
        sigma_px: noise of a track that the solver assumed, pixels.
        usual_px: usual root mean square reprojection error, pixels.
        noise: noise of a track.
    """
    information, parallax_px, square, seen = measured[:, 1], measured[:, 2], measured[:, 3], measured[:, 4]
    usual = (usual_px / sigma_px) ** 2
    # Each observation has two residuals; the depth takes one degree of freedom.
    freedom = np.maximum(2 * seen - 1, 1.0)
    scale = (USUAL_WORTH * usual + square) / (USUAL_WORTH + freedom)
    limit = parallax_px**2 / (noise.own_px**2 + BENT_ALIKE * noise.bent_px**2)
    trusted = np.minimum(information / np.maximum(scale, 1e-3), limit)
    return np.where(parallax_px > LEAST_PARALLAX * np.hypot(noise.own_px, noise.bent_px), trusted, 0.0)


def trusted_points(
    local_map: LocalMap, sight: Sight, pose: Floats, usual_px: float, noise: TrackNoise, doubt: Doubt, scale: float
) -> WindowPoints:
    """Return the observed points with information; the variance of the host's depth is propagated to the frame.

    Args:
        local_map: the map.
        sight: observations of the frame.
        pose: (4, 4) pose of the frame.
        usual_px: usual root mean square reprojection error, pixels.
        noise: noise of a track.
        doubt: doubt about the points, which reduces all information.
        scale: published units per map unit.
    """
    measured = local_map.measured[sight.places]
    information = trusted_information(measured, local_map.config.sigma_px, usual_px, noise) * (1 - doubt.degree)
    z = local_map.depths(pose, sight)
    known = (information > 0) & (z > 1e-6)
    sight, z, information = sight.chosen(known), z[known], information[known]
    hosts = np.stack([k.pose for k in local_map.keyframes])[local_map.host[sight.places]]
    # The depth here is proportional to the depth in the host, plus an offset. So errors of the logarithm are multiplied
    # by (depth - offset) / depth.
    offset = (pose @ np.linalg.inv(hosts))[:, 2, 3]
    carried = np.maximum(((z - offset) / z) ** 2, 1e-6)
    return WindowPoints(
        local_map.ids[sight.places], local_map.to_image(sight.found), z * scale,
        carried / (information + local_map.prior_weight[sight.places]), information / carried,
    )  # fmt: skip
