"""The window's memory: keyframes, points, and which keyframe saw which point where. Arrays; no images.

A point is a ray of the keyframe that saw it first (its host) and the logarithm of its inverse z-depth there. Points are
addressed by their place in the arrays; `LocalMap.ids` gives each a name that stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.inference.window import solver
from featdepth_ros.inference.window.config import WindowConfig

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass
class Keyframe:
    """One keyframe.

    Attributes:
        pose: (3, 4) T_camera_map.
        log_scale: logarithm of map units per unit of the network's depth.
        places: (n,) points it saw.
        pixels: (n, 2) where.
    """

    pose: Floats
    log_scale: float
    scale_mean: float
    places: Places
    pixels: Floats


@dataclass(frozen=True)
class Sight:
    """Points seen in one frame: (n,) places in the map, and (n, 2) pixels."""

    places: Places
    pixels: Floats

    def __len__(self) -> int:
        return len(self.places)

    def chosen(self, which: NDArray[np.bool_]) -> Sight:
        """Those where ``which`` (n,) holds."""
        return Sight(self.places[which], self.pixels[which])


class LocalMap:
    """Keyframes and points.

    Args:
        config: see `WindowConfig`.
        camera: (4,) fx fy cx cy, pixels.
    """

    def __init__(self, config: WindowConfig, camera: Floats) -> None:
        self.config = config
        self.camera = camera
        self.keyframes: list[Keyframe] = []
        self.ids = np.zeros(0, dtype=np.int64)
        self.host = np.zeros(0, dtype=np.int64)
        self.rays = np.zeros((0, 2))
        self.log_rho = np.zeros(0)
        self.prior = np.zeros(0)
        self.bad = np.zeros(0, dtype=bool)
        self.variance = np.zeros(0)
        self.information = np.zeros(0)
        self._next_id = 0
        self._index()

    # -- reading --------------------------------------------------------------------------------------------------

    def rays_of(self, pixels: Floats) -> Floats:
        """(n, 2) rays x/z, y/z of (n, 2) pixels."""
        return np.asarray((pixels - self.camera[2:]) / self.camera[:2])

    def world(self, places: Places) -> Floats:
        """(n, 3) points in the map's coordinates."""
        poses = np.stack([k.pose for k in self.keyframes])[self.host[places]]
        rays = np.concatenate([self.rays[places], np.ones((len(places), 1))], axis=1)
        local = rays * np.exp(-self.log_rho[places])[:, None] - poses[:, :, 3]
        return np.einsum("nji,nj->ni", poses[:, :, :3], local)

    def project(self, pose: Floats, points: Floats) -> tuple[Floats, Floats]:
        """(n, 2) pixels and (n,) z-depths of (n, 3) points of the map in a camera at a (3, 4) pose."""
        seen = points @ pose[:, :3].T + pose[:, 3]
        z = np.maximum(seen[:, 2], 1e-3)
        return seen[:, :2] / z[:, None] * self.camera[:2] + self.camera[2:], seen[:, 2]

    # -- growing --------------------------------------------------------------------------------------------------

    def add_keyframe(self, pose: Floats, log_scale: float, seen: Sight) -> None:
        """Append a keyframe that sees points of the map; the oldest goes when there are too many."""
        self.keyframes.append(Keyframe(pose.copy(), log_scale, log_scale, seen.places, seen.pixels))

    def add_points(self, pixels: Floats, prior: Floats) -> Places:
        """Add points that the newest keyframe sees first.

        Args:
            pixels: (n, 2).
            prior: (n,) log inverse depth by the network, in its own unit; NaN where it has none.

        Returns:
            (n,) places.
        """
        n, count = len(pixels), len(self.ids)
        keyframe = self.keyframes[-1]
        known = prior[np.isfinite(prior)]
        middle = float(np.median(known)) if len(known) else 0.0
        start = np.where(np.isfinite(prior), prior, middle) - keyframe.log_scale
        self.ids = np.append(self.ids, np.arange(self._next_id, self._next_id + n))
        self.host = np.append(self.host, np.full(n, len(self.keyframes) - 1))
        self.rays = np.append(self.rays, self.rays_of(pixels), axis=0)
        self.log_rho = np.append(self.log_rho, start)
        self.prior = np.append(self.prior, prior)
        self.bad = np.append(self.bad, np.zeros(n, dtype=bool))
        self.variance = np.append(self.variance, np.full(n, self.config.sigma_prior**2))
        self.information = np.append(self.information, np.zeros(n))
        self._next_id += n
        return np.arange(count, count + n)

    def finish_keyframe(self) -> NDArray[np.int64]:
        """Drop what is too old, then index what was seen where.

        Returns:
            (N before,) new place of each old one, -1 where dropped.
        """
        excess = len(self.keyframes) - self.config.keyframes - self.config.older_keyframes
        keep = np.ones(len(self.ids), dtype=bool)
        if excess > 0:
            self.keyframes = self.keyframes[excess:]
            self.host = self.host - excess
            seen = np.zeros(len(self.ids), dtype=bool)
            for keyframe in self.keyframes:
                seen[keyframe.places] = True
            keep = (self.host >= 0) & (seen | (self.host == len(self.keyframes) - 1))
        moved = np.where(keep, np.cumsum(keep) - 1, -1)
        if not keep.all():
            for name in ("ids", "host", "rays", "log_rho", "prior", "bad", "variance", "information"):
                setattr(self, name, getattr(self, name)[keep])
            for keyframe in self.keyframes:
                places = moved[keyframe.places]
                keyframe.pixels = keyframe.pixels[places >= 0]
                keyframe.places = places[places >= 0]
        self._index()
        return moved

    def _index(self) -> None:
        """Sort what keyframes saw by point; a host's own sight is exact and left out."""
        count = len(self.ids)
        if not self.keyframes:
            self._start, self._frames, self._pixels = np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros((0, 2))
            return
        places = np.concatenate([k.places for k in self.keyframes])
        frames = np.repeat(np.arange(len(self.keyframes)), [len(k.places) for k in self.keyframes])
        pixels = np.concatenate([k.pixels for k in self.keyframes])
        own = self.host[places] == frames
        places, frames, pixels = places[~own], frames[~own], pixels[~own]
        order = np.argsort(places, kind="stable")
        self._frames, self._pixels = frames[order], np.ascontiguousarray(pixels[order])
        self._start = np.concatenate([[0], np.cumsum(np.bincount(places, minlength=count))])

    # -- solving --------------------------------------------------------------------------------------------------

    def adjust(self, recent: list[tuple[Floats, Sight]]) -> tuple[list[Floats], Floats] | None:
        """Solve the window.

        Args:
            recent: (pose (3, 4), sight) of frames that are no keyframes, the newest last.

        Returns:
            Poses (3, 4) of the recent frames and the covariance (6 r, 6 r) of their perturbations, or None when the
            equations could not be solved. Keyframes and points are changed in place.
        """
        config = self.config
        count = len(self.keyframes)
        first = max(0, count - config.keyframes)
        poses = np.stack([k.pose for k in self.keyframes] + [pose for pose, _ in recent])
        scales = np.array([k.log_scale for k in self.keyframes] + [0.0] * len(recent))
        means = np.array([k.scale_mean for k in self.keyframes] + [0.0] * len(recent))
        active, fixed = self._active(first, recent)
        if len(active) < 20:
            return None
        free = np.arange(first if fixed else first + 1, len(poses))
        variable = np.full(len(poses), -1)
        variable[free] = np.arange(len(free))
        scale_variable = np.full(len(poses), -1)
        scale_variable[first:count] = 6 * len(free) + np.arange(count - first)
        seen = np.full((len(recent), len(self.ids), 2), np.nan)
        for row, (_, sight) in enumerate(recent):
            seen[row, sight.places] = sight.pixels
        settings = np.array([
            config.sigma_px, config.huber_px, config.outlier_px, config.sigma_prior, config.huber_prior,
            config.sigma_scale,
        ])  # fmt: skip
        unknowns = 6 * len(free) + count - first
        covariance = np.empty((unknowns, unknowns))
        cost = solver.adjust(
            poses, variable, scales, scale_variable, means, settings, self.camera, self.host, self.rays, self.log_rho,
            self.prior, active, self._start, self._frames, self._pixels, np.arange(count, len(poses)), seen,
            config.iterations, covariance, self.variance, self.information,
        )  # fmt: skip
        if cost < 0:
            return None
        for k, keyframe in enumerate(self.keyframes):
            keyframe.pose = poses[k]
            keyframe.log_scale = float(scales[k])
        last = slice(6 * (len(free) - len(recent)), 6 * len(free))
        return list(poses[count:]), covariance[last, last]

    def _active(self, first: int, recent: list[tuple[Floats, Sight]]) -> tuple[Places, bool]:
        """Points that the window's keyframes or a recent frame see, twice at least; and whether one holds it fast."""
        seen = np.zeros(len(self.ids), dtype=bool)
        for keyframe in self.keyframes[first:]:
            seen[keyframe.places] = True
        again = np.diff(self._start) > 0
        for _, sight in recent:
            seen[sight.places] = True
            again[sight.places] |= True
        active = np.flatnonzero(seen & again & ~self.bad)
        held = bool((self.host[active] < first).any())
        return active, held
