"""The window's map: keyframes, points and their observations. It holds arrays but no images.

A point is a ray of the keyframe that observed it first (its host), with the logarithm of its inverse z-depth there.
Points are addressed by their index in the arrays (their place); `LocalMap.ids` has the permanent id of each.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.window.compiled import solver
from featdepth_ros.inference.window.config import WindowConfig
from featdepth_ros.inference.window.lens import Lens
from featdepth_ros.inference.window.prior import network_scale
from featdepth_ros.inference.window.records import Keyframe, KnownMotion, NetworkScale, Places, Sight, Solution
from featdepth_ros.inference.window.two_views.geometry import triangulated

Floats = NDArray[np.float64]

#: Arrays of `LocalMap` with a row for each point.
_ROWS = ("ids", "host", "found", "late", "rays", "log_rho", "prior", "prior_weight", "bad", "guess", "measured")
#: Prior standard deviation of the log depth of a point without a network's depth.
_UNTOLD_SIGMA = 2.0
#: Parallax above which the depth of such a point is triangulated, pixels.
_TELLING_PX = 2.0


class LocalMap:
    """Keyframes and points.

    Args:
        config: see `WindowConfig`.
        camera: (4,) fx fy cx cy, pixels.
        next_id: id of the first point.
        lens: estimate of the calibration's radial error; None: a new one.
    """

    def __init__(self, config: WindowConfig, camera: Floats, next_id: int = 0, lens: Lens | None = None) -> None:
        self.config = config
        self.camera = camera
        self.keyframes: list[Keyframe] = []
        self.lens = lens or Lens(config)
        self.ids = np.zeros(0, dtype=np.int64)
        self.host = np.zeros(0, dtype=np.int64)
        self.found = np.zeros((0, 2))
        self.late = np.zeros((0, 2))
        self.rays = np.zeros((0, 2))
        self.log_rho = np.zeros(0)
        self.prior = np.zeros(0)
        self.prior_weight = np.zeros(0)
        self.bad = np.zeros(0, dtype=bool)
        self.guess = np.zeros(0, dtype=bool)
        self.measured = np.zeros((0, 5))
        self.next_id = next_id
        self._start = np.zeros(1, dtype=np.int64)
        self._frames = np.zeros(0, dtype=np.int64)
        self._pixels = np.zeros((0, 2))

    # -- reading --------------------------------------------------------------------------------------------------

    @property
    def variance(self) -> Floats:
        """(N,) variance of each point's log inverse depth."""
        return self.measured[:, 0]

    @property
    def information(self) -> Floats:
        """(N,) the part of the inverse variance that comes from images."""
        return self.measured[:, 1]

    def rays_of(self, pixels: Floats) -> Floats:
        """Return the rays (n, 2) x/z, y/z of pixels (n, 2)."""
        return np.asarray((pixels - self.camera[2:]) / self.camera[:2])

    def world(self, places: Places) -> Floats:
        """Return the points (n, 3) in the map's coordinates."""
        poses = np.stack([k.pose for k in self.keyframes])[self.host[places]]
        rays = np.concatenate([self.rays[places], np.ones((len(places), 1))], axis=1)
        local = rays * np.exp(-self.log_rho[places])[:, None] - poses[:, :3, 3]
        return np.asarray(np.einsum("nji,nj->ni", poses[:, :3, :3], local))

    def project(self, pose: Floats, points: Floats) -> tuple[Floats, Floats]:
        """Return pixels (n, 2) and z-depths (n,) of points (n, 3) of the map in a camera at a (4, 4) pose."""
        seen = points @ pose[:3, :3].T + pose[:3, 3]
        z = np.maximum(seen[:, 2], 1e-6)
        return seen[:, :2] / z[:, None] * self.camera[:2] + self.camera[2:], seen[:, 2]

    def depths(self, pose: Floats, sight: Sight) -> Floats:
        """Return the z-depths (n,) of observed points in a camera at a (4, 4) pose."""
        return np.asarray(self.world(sight.places) @ pose[2, :3] + pose[2, 3])

    def errors(self, pose: Floats, sight: Sight) -> Floats:
        """Return the reprojection errors (n,), pixels; they are infinite for points behind the camera."""
        pixels, z = self.project(pose, self.world(sight.places))
        return np.where(z > 0, np.linalg.norm(pixels - sight.pixels, axis=1), np.inf)

    def to_image(self, pixels: Floats) -> Floats:
        """Return the pixels (n, 2) in the image of ideal pixels (n, 2), with the estimated radial error."""
        return np.asarray(self.lens.seen(self.rays_of(pixels)) * self.camera[:2] + self.camera[2:])

    def to_ideal(self, pixels: Floats) -> Floats:
        """Return the inverse of `to_image`."""
        return np.asarray(self.lens.ideal(self.rays_of(pixels)) * self.camera[:2] + self.camera[2:])

    def agreeing(self, pose: Floats, sight: Sight) -> tuple[float, Sight]:
        """Return the median error in pixels of the inliers of a (4, 4) pose, NaN without any, and the inliers.

        Points with large errors are not used again, because they move or are mismatched.
        """
        errors = self.errors(pose, sight)
        self.bad[sight.places[errors > self.config.drop_px]] = True
        agree = errors < self.config.agree_px
        return (float(np.median(errors[agree])) if agree.any() else math.nan), sight.chosen(agree)

    def network_errors(self, sight: Sight) -> tuple[Floats, Floats, Floats]:
        """Compare observed points with the network's depth.

        Returns:
            (n,) log ratio of measured to predicted inverse depth, the points' `measured` (n, 5), and the predicted
            depth (n,) in map units.
        """
        believed = self.prior_weight[sight.places] > 1.01 * _UNTOLD_SIGMA**-2.0
        places = sight.places[believed]
        hosts = [self.keyframes[h] for h in self.host[places]]
        shift, scale = np.array([k.shift for k in hosts]), np.array([k.log_scale for k in hosts])
        value = np.maximum(self.prior[places] + shift, 0.02 * self.prior[places] + 1e-9)
        told_log_rho = np.log(value) - scale
        return self.log_rho[places] - told_log_rho, self.measured[places], np.exp(-told_log_rho)

    # -- growing --------------------------------------------------------------------------------------------------

    def add_keyframe(self, pose: Floats, network: NetworkScale, seen: Sight) -> None:
        """Append a keyframe with observations of the map; ``network`` is log scale and shift of its network depth."""
        scale, shift = network
        pixels = self.to_image(seen.found)
        self.keyframes.append(
            Keyframe(pose.copy(), scale, scale, seen.places, seen.pixels, pixels, seen.late, shift, shift)
        )

    def add_points(
        self, pixels: Floats, late: Floats, prior: Floats, told: NDArray[np.bool_], guess: bool = False
    ) -> Places:
        """Add points whose host is the newest keyframe.

        Args:
            pixels: (n, 2) ideal pixels.
            late: (n, 2) see `Sight`.
            prior: (n,) inverse depth by the network, in its own unit.
            told: (n,) whether the network's depth is valid.
            guess: whether an invalid depth is only a guess; else it still has a meaning, such as "far".

        Returns:
            (n,) indices of the points.
        """
        n, count = len(pixels), len(self.ids)
        added = {
            "ids": np.arange(self.next_id, self.next_id + n),
            "host": np.full(n, len(self.keyframes) - 1),
            "found": self.to_image(pixels + late),
            "late": late,
            "rays": self.rays_of(pixels),
            "log_rho": self.expected_log_rho(prior),
            "prior": prior,
            "prior_weight": np.where(told, self.config.sigma_prior, _UNTOLD_SIGMA) ** -2.0,
            "bad": np.zeros(n, dtype=bool),
            "guess": ~told & guess,
            "measured": np.tile([self.config.sigma_prior**2, 0.0, 0.0, 0.0, 0.0], (n, 1)),
        }
        for name in _ROWS:
            setattr(self, name, np.concatenate([getattr(self, name), added[name]]))
        self.next_id += n
        return np.arange(count, count + n)

    def begin_with(self, places: Places, depth: Floats) -> None:
        """Set the depths (n,) of points of the first keyframe, and drop its other points."""
        keyframe = self.keyframes[-1]
        self.bad[:] = True
        self.bad[places] = False
        self.log_rho[places] = -np.log(depth)
        believed = places[~self.guess[places]]
        scale = network_scale(self.prior[believed], np.exp(self.log_rho[believed]), True) if len(believed) else None
        if scale is not None:
            keyframe.log_scale, keyframe.shift = keyframe.scale_mean, keyframe.shift_mean = scale
        else:  # the unit comes from the parallax
            self.prior[places] = np.exp(self.log_rho[places] + keyframe.log_scale)
            self.guess[places] = True
            self.prior_weight[places] = _UNTOLD_SIGMA**-2.0
        # These depths are no longer guesses.
        self.measured[places, 1] = self.config.known_information

    def rescale(self, log_factor: float) -> None:
        """Multiply all lengths by ``exp(log_factor)``."""
        for keyframe in self.keyframes:
            keyframe.pose = se3.stretched(keyframe.pose, math.exp(log_factor))
            keyframe.log_scale += log_factor
            keyframe.scale_mean += log_factor
        self.log_rho = self.log_rho - log_factor

    def triangulate(self, pose: Floats, sight: Sight) -> None:
        """Triangulate the points whose depth is only a guess, from the observations of one camera.

        Args:
            pose: (4, 4) pose of the camera.
            sight: observations of the camera.
        """
        sight = sight.chosen(self.is_guess(sight.places))
        if not len(sight):
            return
        motions = pose @ np.linalg.inv(np.stack([k.pose for k in self.keyframes])[self.host[sight.places]])
        rays = np.concatenate([self.rays[sight.places], np.ones((len(sight), 1))], axis=1)
        turned, seen = np.einsum("nij,nj->ni", motions[:, :3, :3], rays), self.rays_of(sight.pixels)
        rho = triangulated(turned, seen, motions[:, :3, 3])
        parallax = np.linalg.norm(seen - turned[:, :2] / np.maximum(turned[:, 2:], 1e-6), axis=1) * self.camera[0]
        good = (parallax > _TELLING_PX) & (rho > 0)
        self.log_rho[sight.places[good]] = np.log(rho[good])

    def is_guess(self, places: Places) -> NDArray[np.bool_]:
        """Return whether each depth is only a guess (n,): without a network's depth, and with little information."""
        return self.guess[places] & (self.information[places] < self.config.known_information)

    def expected_log_rho(self, prior: Floats) -> Floats:
        """Return the log inverse depths in the map (n,) for the network's inverse depths in the newest keyframe."""
        keyframe = self.keyframes[-1]
        return np.asarray(np.log(np.maximum(prior + keyframe.shift, 0.02 * prior + 1e-9)) - keyframe.log_scale)

    def finish_keyframe(self) -> Places:
        """Drop old keyframes and points, then index the observations.

        Returns:
            (old N,) new index of each old point, -1 if dropped.
        """
        excess = max(0, len(self.keyframes) - self.config.keyframes - self.config.older_keyframes)
        self.keyframes = self.keyframes[excess:]
        self.host = self.host - excess
        seen = self.host == len(self.keyframes) - 1
        for keyframe in self.keyframes:
            seen[keyframe.places] = True
        keep = seen & (self.host >= 0)
        moved = np.where(keep, np.cumsum(keep) - 1, -1)
        if not keep.all():
            for name in _ROWS:
                setattr(self, name, getattr(self, name)[keep])
            for keyframe in self.keyframes:
                places = moved[keyframe.places]
                stays = places >= 0
                keyframe.places, keyframe.pixels, keyframe.found, keyframe.late = (
                    places[stays], keyframe.pixels[stays], keyframe.found[stays], keyframe.late[stays],
                )  # fmt: skip
        self._recalibrate()
        self._index()
        return moved

    def _recalibrate(self) -> None:
        """Convert all observations to the ideal camera after an update of the radial error."""
        if self.lens.take_over(self.config.keyframes):
            self.rays = self.rays_of(self.to_ideal(self.found) - self.late)
            for keyframe in self.keyframes:
                keyframe.pixels = self.to_ideal(keyframe.found) - keyframe.late

    def _index(self) -> None:
        """Sort the keyframes' observations by point, without those of the host, which are exact by definition."""
        places = np.concatenate([k.places for k in self.keyframes])
        frames = np.repeat(np.arange(len(self.keyframes)), [len(k.places) for k in self.keyframes])
        pixels = np.concatenate([k.pixels for k in self.keyframes])
        again = self.host[places] != frames
        places, frames, pixels = places[again], frames[again], pixels[again]
        order = np.argsort(places, kind="stable")
        self._frames, self._pixels = frames[order], np.ascontiguousarray(pixels[order])
        self._start = np.concatenate([[0], np.cumsum(np.bincount(places, minlength=len(self.ids)))])

    # -- solving --------------------------------------------------------------------------------------------------

    def adjust(
        self, recent: list[tuple[Floats, Sight]], known: KnownMotion | None = None, hold: bool = False
    ) -> Solution | None:
        """Optimise the window; keyframes and points are changed in place.

        Args:
            recent: (pose (4, 4), observations) of frames that are not keyframes, the newest last. The previous frame is
                either among them or the last keyframe.
            known: another measurement of the newest motion.
            hold: keep all poses fixed and optimise the points alone.

        Returns:
            The solution, or None if the equations could not be solved.
        """
        config, count = self.config, len(self.keyframes)
        first = max(0, count - config.keyframes)
        poses = np.stack([k.pose[:3] for k in self.keyframes] + [pose[:3] for pose, _ in recent])
        active, carried = self._active(first, recent)
        if len(active) < config.least_tracks:
            return None
        free = np.arange(first if carried else first + 1, len(poses)) if not hold else np.zeros(0, dtype=np.int64)
        variable = np.full(len(poses), -1)
        variable[free] = np.arange(len(free))
        scales = np.array([k.log_scale for k in self.keyframes] + [0.0] * len(recent))
        means = np.array([k.scale_mean for k in self.keyframes] + [0.0] * len(recent))
        shifts = np.array([k.shift for k in self.keyframes] + [0.0] * len(recent))
        shift_means = np.array([k.shift_mean for k in self.keyframes] + [0.0] * len(recent))
        scale_variable, shift_variable = np.full(len(poses), -1), np.full(len(poses), -1)
        scale_variable[first:count] = 6 * len(free) + np.arange(count - first)
        unknowns = 6 * len(free) + count - first
        if config.prior == "scale_and_shift":
            shift_variable[first:count] = unknowns + np.arange(count - first)
            unknowns += count - first
        seen = np.full((len(recent), len(self.ids), 2), np.nan)
        for row, (_, sight) in enumerate(recent):
            seen[row, sight.places] = sight.pixels
        settings = np.array([
            config.sigma_px, config.huber_px, config.outlier_px, config.huber_prior, config.sigma_scale,
            config.sigma_shift,
        ])  # fmt: skip
        lens_place = (
            unknowns if config.calibrate and not hold and self._turn(poses[first:]) > config.radial_turn_rad else -1
        )
        covariance = np.empty((unknowns + (lens_place >= 0),) * 2)
        cost = solver.adjust(
            (poses, variable, scales, scale_variable, means, shifts, shift_variable, shift_means),
            (self.host, self.rays, self.log_rho, self.prior, self.prior_weight, active),
            (
                self._start, self._frames, self._pixels, np.arange(count, len(poses)), seen,
                np.ascontiguousarray(known.motion[:3]) if known else np.eye(4)[:3].copy(),
                known.information if known else np.zeros((6, 6)),
            ),
            settings,
            (self.camera, self.lens.error, self.lens.mean, self.lens.information, lens_place),
            config.iterations, covariance, self.measured,
        )  # fmt: skip
        if cost < 0 or not np.isfinite(poses).all():
            return None
        square = np.zeros((len(poses), 4, 4))
        square[:, :3], square[:, 3, 3] = poses, 1.0
        for k, keyframe in enumerate(self.keyframes):
            keyframe.pose, keyframe.log_scale, keyframe.shift = square[k], float(scales[k]), float(shifts[k])
        if lens_place >= 0:
            self.lens.variance = float(covariance[-1, -1])
        return Solution(list(square[count:]), self._last_two(covariance, variable))

    @staticmethod
    def _turn(poses: Floats) -> float:
        """Return the largest rotation between the newest of (n, 3, 4) poses and any other, radians."""
        cosine = 0.5 * (np.einsum("nij,ij->n", poses[:, :, :3], poses[-1, :, :3]) - 1.0)
        return float(np.arccos(np.clip(cosine.min(), -1.0, 1.0)))

    def _active(self, first: int, recent: list[tuple[Floats, Sight]]) -> tuple[Places, bool]:
        """Return the points with at least two observations in the window, and whether older keyframes host some."""
        seen = np.zeros(len(self.ids), dtype=bool)
        for keyframe in self.keyframes[first:]:
            seen[keyframe.places] = True
        again = np.diff(self._start) > 0
        for _, sight in recent:
            seen[sight.places] = again[sight.places] = True
        active = np.flatnonzero(seen & again & ~self.bad)
        return active, bool((self.host[active] < first).any())

    @staticmethod
    def _last_two(covariance: Floats, variable: NDArray[np.int64]) -> Floats:
        """Return the covariance (12, 12) of the last two frames' perturbations; it is zero for a fixed frame."""
        picked = np.zeros((12, 12))
        rows = [np.arange(6 * v, 6 * v + 6) if v >= 0 else None for v in variable[-2:]]
        for i, a in enumerate(rows):
            for j, b in enumerate(rows):
                if a is not None and b is not None:
                    picked[6 * i : 6 * i + 6, 6 * j : 6 * j + 6] = covariance[np.ix_(a, b)]
        return picked
