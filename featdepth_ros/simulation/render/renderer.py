"""The renderer: it renders an image and its depth from a scene, a camera and a pose."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import CalibrationError
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.simulation.render import kernels
from featdepth_ros.simulation.render.rays import ray_table
from featdepth_ros.simulation.render.scene import Scene
from featdepth_ros.simulation.render.shapes import C_COLUMNS

TILE = 16


class Renderer:
    """Renders a scene through one camera.

    Args:
        scene: the scene to render.
        camera: the camera, with or without distortion; the ray of every pixel must point forwards.
        threads: worker threads; None: the number of processors, at most 8. Results do not depend on it.
        smooth: anti-aliasing: average three rays per pixel on outlines. Depth is always that of the pixel's centre.

    Raises:
        CalibrationError: a pixel of the camera has no forward ray.
    """

    def __init__(self, scene: Scene, camera: CameraModel, threads: int | None = None, smooth: bool = True) -> None:
        self.scene, self.camera, self.smooth = scene, camera, smooth
        self.threads = threads or min(os.cpu_count() or 1, 8)
        self._rays = np.ascontiguousarray(ray_table(camera))
        if not np.isfinite(self._rays).all():
            raise CalibrationError(
                "the camera has pixels without a forward ray; use a smaller image or less distortion"
            )
        height, width = self._rays.shape[:2]
        self._steps = np.concatenate([np.gradient(self._rays, axis=1), np.gradient(self._rays, axis=0)], axis=2)
        margin = 0.5 * np.abs(self._steps).max((0, 1)).reshape(2, 2).sum(0)
        areas, tiles = [], []
        for y in range(0, height, TILE):
            for x in range(0, width, TILE):
                area = (y, min(y + TILE, height), x, min(x + TILE, width))
                rays = self._rays[area[0] : area[1], area[2] : area[3]].reshape(-1, 2)
                low, high = rays.min(0) - margin, rays.max(0) + margin
                areas.append(area)
                tiles.append((low[0], high[0], low[1], high[1]))
        self._areas, self._tiles = np.array(areas, np.int64), np.array(tiles)
        self._window = np.array(
            [self._tiles[:, 0].min(), self._tiles[:, 1].max(), self._tiles[:, 2].min(), self._tiles[:, 3].max()]
        )
        self._pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None

    def render(self, T_world_camera: NDArray[np.float64]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Render one view.

        Args:
            T_world_camera: (4, 4) pose of the camera (optical axes) in the scene's world (x east, y north, z up).

        Returns:
            image (H, W, 3) uint8 RGB, and depth (H, W) float32: z-depth of the pixel's centre in metres, NaN where the
            ray hits nothing (the sky).
        """
        image, depth, _ = self.render_surfaces(T_world_camera)
        return image, depth

    def render_surfaces(
        self, T_world_camera: NDArray[np.float64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int32]]:
        """Render one view, and return the surface that each pixel's centre shows.

        Returns:
            image and depth as in `render`, and surfaces (H, W) int32. A surface is four times the number of the
            primitive plus the axis of its face; it is negative for ground and sky.
        """
        data, pose = self.scene.data, np.ascontiguousarray(T_world_camera, np.float64)
        height, width = self._rays.shape[:2]
        colour = np.empty((height, width, 3), np.float32)
        depth, hits = np.empty((height, width), np.float32), np.empty((height, width), np.int32)
        order, bounds = self._visible(pose)

        def pass_over(outlines: bool, first: int, last: int) -> None:
            near = np.empty((len(order) + 1, C_COLUMNS))
            kernels.render_tiles(
                data, order, bounds, pose, self._rays, self._steps, self._areas, self._tiles,
                first, last, outlines, colour, depth, hits, near,
            )  # fmt: skip

        for outlines in (False, True) if self.smooth else (False,):
            self._spread(pass_over, outlines, len(self._areas))
        image = np.empty((height, width, 3), np.uint8)
        kernels.quantise(colour, image)
        return image, depth, hits

    def _visible(self, pose: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the visible primitives, nearest first, and their bounds."""
        data = self.scene.data
        order, bounds = np.empty(len(data.kind), np.int64), np.empty((len(data.kind), 5))
        seen = kernels.cull(
            data.shapes, data.axes, pose, self._window, self.scene.far_m, order, bounds, np.empty((8, 3))
        )
        ranks = np.argsort(bounds[:seen, 4], kind="stable")
        return order[:seen][ranks], bounds[:seen][ranks]

    def _spread(self, work: Callable[[bool, int, int], None], outlines: bool, count: int) -> None:
        """Distribute ``count`` pieces of work over the threads."""
        if self._pool is None:
            work(outlines, 0, count)
            return
        step = max(count // (self.threads * 6), 1)
        jobs = [self._pool.submit(work, outlines, a, min(a + step, count)) for a in range(0, count, step)]
        for job in jobs:
            job.result()
