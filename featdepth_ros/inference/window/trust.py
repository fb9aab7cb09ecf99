"""How far a point of the map may be trusted: what its own residuals and its parallax say, beside the solver's word.

The solver's variances hold for independent errors of one size. But errors of one point in successive frames are alike.
Some points sit on edges, glints or what moves. And a rolling shutter or a lens bends the picture where the camera
turns. So a point's variance is scaled by its own residuals (a posteriori, with a few observations' worth of what is
usual). No number of sightings makes it better than the noise of one over the largest parallax that it has shown. A
point whose parallax does not stand out from the noise carries no information: a camera that turns on the spot measures
nothing.
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

#: Parallax over noise below which a point says nothing; observations' worth of the usual residual.
LEAST_PARALLAX, USUAL_WORTH = 3.0, 4.0
#: Noise of a track: times the usual residual, and the least, pixels.
NOISE_RESIDUAL, LEAST_PX = 1.3, 0.05
#: Seconds that a turning camera bends the picture by, where no readout time is known. This is a tenth of what common
#: sensors take to read their rows. Next is the share of a known readout time. A residual below the next number shows a
#: picture that is bent the less. Bending moves all points of a region alike: it counts for so many points.
BENT_S, BENT_SHARE, BENT_RESIDUAL_PX, BENT_ALIKE = 0.0025, 0.03, 0.3, 20.0

#: - `GROSS`: logarithm of depth by which a point disagrees grossly with the network: a factor of three. Up to a quarter
#:   of the points of an ordinary drive are off by two, since networks err; hardly any are off by three.
#: - `GROSS_SIGMAS`: and by so many standard deviations of the network's. It tells little of what is far: it puts hills
#:   that stand 400 m away at 40 to 60 m.
#: - `DOUBT`: share of such points where doubt begins, and where it is whole.
#: - `SAY_PX`: parallax from which a point has a say, pixels.
#: - `SAY_POINTS`: points that make a share.
#: - `DOUBT_SHARE`: share of the newest frame in what is remembered.
GROSS, GROSS_SIGMAS, DOUBT, SAY_PX, SAY_POINTS, DOUBT_SHARE = 1.1, 2.0, (0.04, 0.08), 3.0, 20, 0.2
#: Share of the newest frame in the running mean of squared residuals.
RESIDUAL_SHARE = 0.05
#: How fast the camera may move while all is in doubt: median depths a second.
DOUBT_SPEED = 1.0


class Doubt:
    """Whether what the window takes for standing moves along with the camera, as lorries in a jam do.

    Nothing in the tracks tells that: what moves along seems far away, and the road seems near. The network's depth
    tells: where many points disagree with it by a factor of three, the window is not to be believed.

    Attributes:
        share: of points that disagree, remembered: a bad sign is believed at once, and forgotten slowly.
    """

    def __init__(self) -> None:
        self.share = 0.0

    def take(self, off: Floats, measured: Floats, told: Floats) -> None:
        """Take a frame's points.

        Args:
            off: (n,) logarithm of inverse depth over what the network told.
            measured: (n, 5) what the solver found, see `compiled.solver.adjust`.
            told: (n,) depth that the network told, published units.
        """
        has_say = measured[:, 2] > SAY_PX
        off, told = off[has_say], told[has_say]
        if len(off) >= SAY_POINTS:
            much = np.maximum(GROSS, GROSS_SIGMAS * network_log_sigma(told))
            gross = float(np.mean(np.abs(off - np.median(off)) > much))
            self.share = max(gross, self.share + DOUBT_SHARE * (gross - self.share))

    @property
    def degree(self) -> float:
        """0: none, 1: the window is not believed at all."""
        return float(np.clip((self.share - DOUBT[0]) / (DOUBT[1] - DOUBT[0]), 0.0, 1.0))


class UsualResidual:
    """Running root mean square of the frames' residuals.

    Attributes:
        px: it, pixels; 0 before the first.
    """

    def __init__(self) -> None:
        self.px = 0.0

    def take(self, residual_px: float) -> float:
        """Take a frame's residual in pixels, NaN without any; returns it, or the usual one where that is larger."""
        if math.isnan(residual_px):
            return residual_px
        share = RESIDUAL_SHARE if self.px > 0.0 else 1.0
        self.px = math.sqrt(self.px**2 * (1 - share) + residual_px**2 * share)
        return max(residual_px, self.px)


@dataclass(frozen=True)
class TrackNoise:
    """Noise of a track, pixels: what differs from point to point, and what bends a whole region."""

    own_px: float
    bent_px: float

    @staticmethod
    def of(residual_px: float, turn_radps: float, focal_px: float, readout_s: float) -> TrackNoise:
        """Noise while a camera turns.

        Args:
            residual_px: usual root mean square reprojection error.
            turn_radps: angular speed of the camera.
            focal_px: focal length.
            readout_s: known readout time of the rows; 0: not known.
        """
        bent_s = BENT_S if readout_s == 0.0 else BENT_SHARE * readout_s
        bent_px = bent_s * turn_radps * focal_px * min(1.0, residual_px / BENT_RESIDUAL_PX)
        return TrackNoise(max(NOISE_RESIDUAL * residual_px, LEAST_PX), bent_px)


def trusted_information(measured: Floats, sigma_px: float, usual_px: float, noise: TrackNoise) -> Floats:
    """Information of log depth (n,) that a point deserves.

    Args:
        measured: (n, 5) what the solver found, see `compiled.solver.adjust`.
        sigma_px: noise of a track that it assumed.
        usual_px: usual root mean square reprojection error.
        noise: of a track.
    """
    information, parallax_px, square, seen = measured[:, 1], measured[:, 2], measured[:, 3], measured[:, 4]
    usual = (usual_px / sigma_px) ** 2
    # Each sighting has two residuals; the depth takes one of all.
    freedom = np.maximum(2 * seen - 1, 1.0)
    scale = (USUAL_WORTH * usual + square) / (USUAL_WORTH + freedom)
    limit = parallax_px**2 / (noise.own_px**2 + BENT_ALIKE * noise.bent_px**2)
    trusted = np.minimum(information / np.maximum(scale, 1e-3), limit)
    return np.where(parallax_px > LEAST_PARALLAX * np.hypot(noise.own_px, noise.bent_px), trusted, 0.0)


def trusted_points(
    local_map: LocalMap, sight: Sight, pose: Floats, usual_px: float, noise: TrackNoise, doubt: Doubt, scale: float
) -> WindowPoints:
    """Points that a frame sees and that are measured; their variance is that of the host's depth carried to it.

    Args:
        local_map: the map.
        sight: what the frame sees.
        pose: (4, 4) of the frame.
        usual_px: usual root mean square reprojection error.
        noise: of a track.
        doubt: what is left of all information.
        scale: published units per map unit.
    """
    measured = local_map.measured[sight.places]
    information = trusted_information(measured, local_map.config.sigma_px, usual_px, noise) * (1 - doubt.degree)
    z = local_map.depths(pose, sight)
    known = (information > 0) & (z > 1e-6)
    sight, z, information = sight.chosen(known), z[known], information[known]
    hosts = np.stack([k.pose for k in local_map.keyframes])[local_map.host[sight.places]]
    # Depth here is depth there, turned, plus an offset; so logarithms' errors go as (depth - offset) / depth.
    offset = (pose @ np.linalg.inv(hosts))[:, 2, 3]
    carried = np.maximum(((z - offset) / z) ** 2, 1e-6)
    return WindowPoints(
        local_map.ids[sight.places], local_map.to_image(sight.found), z * scale,
        carried / (information + local_map.prior_weight[sight.places]), information / carried,
    )  # fmt: skip
