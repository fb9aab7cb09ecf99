"""Motion and structure from a window of keyframes."""

from __future__ import annotations

from typing import Any
import math

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.window import tracks
from featdepth_ros.inference.window.config import WindowConfig
from featdepth_ros.inference.window.local_map import LocalMap, Sight
from featdepth_ros.inference.window.pose import find_pose
from featdepth_ros.inference.window.types import ScaleOrigin, WindowPoints, WindowResult, WindowState

OPT: dict = {}
Floats = NDArray[np.float64]


def _square(pose: Floats) -> Floats:
    return np.concatenate([pose, [[0, 0, 0, 1.0]]])


class Window:
    def __init__(self, config: WindowConfig) -> None:
        self.config = config
        self.reset()

    def reset(self) -> None:
        self._map: LocalMap | None = None

    def step(self, grey, camera: CameraModel, stamp_ns: int, depth=None, trusted=None, road=None) -> WindowResult:
        self._size = grey.shape
        self._depth, self._trusted = depth, trusted
        images = tracks.pyramid(grey)
        if self._map is None:
            return self._start(grey, images, camera)
        m = self._map
        expected = self._expected()
        sight = self._follow(images, expected)
        pose, fits = find_pose(m, sight, expected, self.config.least_tracks)
        sight = sight.chosen(fits)
        fine = len(sight) >= self.config.least_tracks
        key = m.keyframes[-1]
        relative = _square(self._pose) @ se3.inverse(_square(key.pose))
        cov = None
        if fine:
            solved = m.adjust([(pose, sight)])
            if solved is not None:
                pose, cov = solved[0][0], solved[1]
        self._pose_before = (relative @ _square(key.pose))[:3]
        step = _square(self._pose_before) @ se3.inverse(_square(pose))
        points = m.world(sight.places)
        projected, z = m.project(pose, points)
        error = np.linalg.norm(projected - sight.pixels, axis=1)
        m.bad[sight.places[error > 4]] = True
        self._current = sight.chosen((error < 2.5) & (z > 0))
        self._pose = pose
        self._age += 1
        is_key = self._due() or not fine
        if is_key:
            self._keyframe(grey, images)
        return WindowResult(WindowState.TRACKED if fine else WindowState.LOST, step, np.eye(6), float(np.median(error)) if fine else math.nan,
                            len(self._current), is_key, 1.0, 0.0, ScaleOrigin.MAP, WindowPoints.none())

    def _start(self, grey, images, camera):
        self._map = LocalMap(self.config, np.array([camera.fx, camera.fy, camera.cx, camera.cy]))
        self._pose = self._pose_before = np.eye(4)[:3]
        self._current = Sight(np.zeros(0, dtype=np.int64), np.zeros((0, 2)))
        self._scales: list[float] = []
        self._keyframe(grey, images)
        return WindowResult(WindowState.FIRST, np.eye(4), np.eye(6), math.nan, 0, True, 1.0, 0.0, ScaleOrigin.MAP, WindowPoints.none())

    def _expected(self) -> Floats:
        return (_square(self._pose) @ se3.inverse(_square(self._pose_before)) @ _square(self._pose))[:3]

    def _follow(self, images: Any, expected: Floats) -> Sight:
        m = self._map
        t = self._template
        key = m.keyframes[-1]
        relative = (_square(expected) @ se3.inverse(_square(key.pose)))[:3]
        points = m.world(t.places) @ key.pose[:, :3].T + key.pose[:, 3]
        z = points[:, 2]
        rays = m.rays_of(t.pixels)
        y = np.concatenate([rays, np.ones((len(rays), 1))], 1) @ relative[:, :3].T + relative[:, 3] / z[:, None]
        guess = y[:, :2] / y[:, 2:] * m.camera[:2] + m.camera[2:]
        h, w = self._size
        inside = (guess > 2).all(1) & (guess[:, 0] < w - 3) & (guess[:, 1] < h - 3) & (z > 0) & (y[:, 2] > 0.2) & ~m.bad[t.places]
        # d(later pixel)/d(earlier pixel)
        q = self._slope[t.places] if OPT.get("slope") else np.zeros((len(z), 2))
        dy = np.stack([relative[:, k] / m.camera[k] + relative[:, 3] * (q[:, k] / z)[:, None] for k in range(2)], -1)  # n,3,2
        J = m.camera[:2][None, :, None] * (dy[:, :2] - (y[:, :2] / y[:, 2:])[:, :, None] * dy[:, 2:]) / y[:, 2:, None]
        J = J[inside]
        if not OPT.get("warp", True): J[:] = np.eye(2)
        det = np.linalg.det(J) if len(J) else np.zeros(0)
        bad = ~((det > 0.1) & (det < 10))
        J[bad] = np.eye(2)
        warp = np.ascontiguousarray(np.linalg.inv(J))
        t, guess = t.chosen(inside), guess[inside]
        end, good = tracks.follow(self._images, images, t.pixels, guess, warp)
        return Sight(t.places, end).chosen(good)

    def _due(self) -> bool:
        m = self._map
        where = np.full(len(m.ids), -1)
        where[self._template.places] = np.arange(len(self._template))
        t = self._template.pixels[where[self._current.places]]
        R = self._pose[:, :3] @ m.keyframes[-1].pose[:, :3].T
        rays = np.concatenate([m.rays_of(t), np.ones((len(t), 1))], 1) @ R.T
        turned = rays[:, :2] / rays[:, 2:] * m.camera[:2] + m.camera[2:]
        parallax = np.median(np.linalg.norm(turned - self._current.pixels, axis=1)) if len(t) else 0.0
        c = self.config
        return parallax > c.keyframe_parallax * self._size[1] or len(self._current) < c.keyframe_tracks * len(self._template) or self._age >= c.keyframe_age

    def _keyframe(self, grey, images) -> None:
        m = self._map
        scale = self._network_scale()
        m.add_keyframe(self._pose, scale, self._current)
        self._scales.append(scale)
        wanted = self.config.points - len(self._current)
        if wanted >= 10:
            new = tracks.corners(grey, self._current.pixels, wanted)
            d = self._sample(new)
            good = np.isfinite(d)
            new, d = new[good], d[good]
            places = m.add_points(new, -np.log(d))
            self._current = Sight(np.append(self._current.places, places), np.append(self._current.pixels, new, axis=0))
        moved = m.finish_keyframe()
        self._current = Sight(moved[self._current.places], self._current.pixels)
        self._current = self._current.chosen(self._current.places >= 0)
        self._template = self._current
        self._images = images
        self._age = 0

    def _network_scale(self):
        m = self._map
        if not m.keyframes: return 0.0
        last = float(np.mean([k.log_scale for k in m.keyframes[-5:]]))
        c = self._current
        z = (m.world(c.places) @ self._pose[:, :3].T + self._pose[:, 3])[:, 2]
        r = np.log(np.maximum(z, 1e-3)) - np.log(self._sample(c.pixels))
        good = np.isfinite(r) & (m.information[c.places] > OPT.get("mininf", 25))
        return float(np.median(r[good])) if good.sum() > 20 else last

    def _sample(self, pixels):
        d = self._depth() if callable(self._depth) else self._depth
        h, w = d.shape
        x = np.clip(np.rint((pixels[:, 0] + 0.5) * w / self._size[1] - 0.5), 0, w - 1).astype(int)
        y = np.clip(np.rint((pixels[:, 1] + 0.5) * h / self._size[0] - 0.5), 0, h - 1).astype(int)
        v = d[y, x].astype(float)
        return np.where((v > self.config.min_depth) & (v < self.config.max_depth), v, np.nan)
