"""Exposure of images of a moving world, with a global or a rolling shutter."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.simulation.camera_path import CameraPath
from featdepth_ros.simulation.render.rays import ray_table
from featdepth_ros.simulation.render.rolling import RollingRenderer
from featdepth_ros.simulation.render.scene import Scene, Vector
from featdepth_ros.simulation.traffic.traffic import Traffic

#: Time within which the camera's path is interpolated linearly, seconds.
KNOT_S = 0.005


@dataclass(frozen=True)
class Exposure:
    """An image and its ground truth.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        depth: (H, W) float32, metres along the optical axis of ``T_world_camera``; NaN for the sky.
        moving: (H, W) bool mask of pixels that show a moving vehicle or person; None without traffic.
        T_world_camera: (4, 4) pose at the middle of the exposure.
    """

    image: NDArray[np.uint8]
    depth: NDArray[np.float32]
    moving: NDArray[np.bool_] | None
    T_world_camera: Vector


class Shutter:
    """Exposes images; the arguments are those of `Renderer`, and the traffic in the scene."""

    def __init__(
        self, scene: Scene, camera: CameraModel, traffic: Traffic | None, threads: int | None, smooth: bool
    ) -> None:
        self._traffic, self._camera = traffic, camera
        self._renderer = RollingRenderer(scene, camera, threads, smooth)
        self._readout_s = 0.0
        self._knots: NDArray[np.float64] | None = None

    def open(self, path: CameraPath, seconds: Vector, readout_s: float) -> None:
        """Set the path of the frames at ``seconds``; ``readout_s`` is the time from the first to the last row."""
        self._readout_s = readout_s
        if readout_s > 0:
            # The number of knots is odd, so that the middle one is the frame's own pose.
            around = np.linspace(-0.5, 0.5, 2 * math.ceil(readout_s / (2 * KNOT_S)) + 1) * readout_s
            poses = path.poses((seconds[:, None] + around).ravel())
            self._knots = np.array(poses).reshape(len(seconds), len(around), 4, 4)

    def expose(self, index: int, T_world_camera: Vector, seconds: float, offset_m: float = 0.0) -> Exposure:
        """Expose one image.

        Args:
            index: frame number.
            T_world_camera: (4, 4) pose of the frame.
            seconds: time of the frame.
            offset_m: offset of the camera from this pose to the right, along its x axis, metres.
        """
        pose = _beside(T_world_camera, offset_m)
        if self._traffic is not None:
            self._traffic.place(seconds)
        if self._knots is None:
            image, depth, surfaces = self._renderer.render_surfaces(pose)
        else:
            rows = np.stack([_beside(row, offset_m) for row in self.row_poses(index, T_world_camera)])
            half = 0.5 * self._readout_s
            moved = self._traffic.rows(seconds, seconds - half, seconds + half) if self._traffic else None
            image, depth, surfaces = self._renderer.render_rows(rows, moved)
            depth = self._along_one_axis(depth, rows, pose)
        moving = self._traffic.moving(surfaces, seconds) if self._traffic is not None else None
        return Exposure(image, depth, moving, pose)

    def row_poses(self, index: int, T_world_camera: Vector) -> NDArray[np.float64]:
        """Return the (H, 4, 4) poses at which the rows of a frame are exposed."""
        height = self._camera.height
        if self._knots is None:
            return np.tile(T_world_camera, (height, 1, 1))
        knots = self._knots[index]
        places = np.linspace(0.0, len(knots) - 1.0, height)
        first = np.minimum(places.astype(int), len(knots) - 2)
        return np.stack([se3.interpolate(knots[k], knots[k + 1], at - k) for k, at in zip(first, places, strict=True)])

    def _along_one_axis(
        self, depth: NDArray[np.float32], rows: NDArray[np.float64], pose: Vector
    ) -> NDArray[np.float32]:
        """Convert depth along each row's own optical axis to depth of the same points along the axis of ``pose``."""
        relative = se3.inverse(pose) @ rows
        rays = np.concatenate([ray_table(self._camera), np.ones((*depth.shape, 1))], axis=2)
        lengths = np.einsum("hwk,hk->hw", rays, relative[:, 2, :3])
        return np.asarray(depth * lengths + relative[:, 2, 3, None], np.float32)


def _beside(T_world_camera: Vector, offset_m: float) -> Vector:
    moved = T_world_camera.copy()
    moved[:3, 3] += offset_m * moved[:3, 0]
    return moved
