"""A slanted textured wall with a moving camera, and a model with its true depth, so that all results are known."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.info import ModelInfo

CAMERA = CameraModel(320, 96, 185.0, 185.0, 159.5, 47.5)
SIZE = (96, 320)
#: Margin of the texture around the first view on every side, pixels.
MARGIN = 48


@dataclass
class Script:
    """The model's next outputs: depth (h / 2, w / 2) in network units, and T_later_earlier as (axis-angle, shift)."""

    depth: NDArray[np.float64] = field(default_factory=lambda: np.full((SIZE[0] // 2, SIZE[1] // 2), 10.0))
    motion: tuple[list[float], list[float]] = ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0])

    def __deepcopy__(self, memo: object) -> Script:
        return self  # the estimator runs a copy of the model


class KnownModel(FeatDepthModel):
    """A model that returns depth and motion from a script, independent of the images. Its unit is the metre."""

    nets = ("depth", "pose")

    def __init__(self, **info: object) -> None:
        facts = {"architecture": "known", "input_size": SIZE, "scale_kind": "metric", "min_depth": 0.5, **info}
        super().__init__(ModelInfo().with_(**facts))
        self.script = Script()

    def depth(self, image: Tensor) -> list[Tensor]:
        low, high = 1 / self.info.max_depth, 1 / self.info.min_depth
        inverse = torch.from_numpy(1 / self.script.depth).float()[None, None]
        return [(inverse - low) / (high - low)]

    def pose(self, earlier: Tensor, later: Tensor) -> tuple[Tensor, Tensor]:
        axisangle, shift = (torch.tensor([v]) for v in self.script.motion)
        return axisangle, shift


@dataclass(frozen=True)
class Wall:
    """The plane ``normal . p = distance`` in the world, which is the first camera's frame; metres."""

    normal: tuple[float, float, float] = (-0.3, 0.0, 1.0)
    distance: float = 20.0
    seed: int = 0

    def view(self, T_world_camera: NDArray[np.float64], noise: float = 0.0, seed: int = 0) -> NDArray[np.uint8]:
        """Return the (96, 320, 3) uint8 image of a camera, with pixel noise of the standard deviation ``noise``."""
        ndimage = pytest.importorskip("scipy.ndimage")
        random = np.random.default_rng(self.seed)
        height, width = SIZE[0] + 2 * MARGIN, SIZE[1] + 2 * MARGIN
        texture = np.zeros((height, width), np.float32)
        for sigma in (1.5, 4.0):
            layer = cv2.GaussianBlur(random.standard_normal((height, width)).astype(np.float32), (0, 0), sigma)
            texture += 40.0 * layer / float(layer.std())
        T = se3.inverse(T_world_camera)
        plane = T[:3, :3] + np.outer(T[:3, 3], self.normal) / self.distance
        v, u = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
        pixels = np.stack([u.ravel(), v.ravel(), np.ones(u.size)])
        there = CAMERA.K @ np.linalg.inv(CAMERA.K @ plane) @ pixels
        place = there[1::-1] / there[2] + MARGIN  # row and column of the texture; OpenCV would round them to 1/32 pixel
        seen = 127.0 + ndimage.map_coordinates(texture, place, order=3, mode="nearest").reshape(SIZE)
        seen = seen + noise * np.random.default_rng([seed, 1]).standard_normal(seen.shape)
        return np.repeat(np.clip(np.rint(seen), 0, 255).astype(np.uint8)[..., None], 3, axis=2)

    def depth(self, T_world_camera: NDArray[np.float64], factor: int = 2) -> NDArray[np.float64]:
        """Return the true z-depth in metres, on a grid ``factor`` times coarser than the image."""
        camera = CAMERA.resized(SIZE[1] // factor, SIZE[0] // factor)
        v, u = np.mgrid[0 : camera.height, 0 : camera.width]
        rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], axis=-1)
        normal = np.array(self.normal) @ T_world_camera[:3, :3]
        return (self.distance - np.array(self.normal) @ T_world_camera[:3, 3]) / (rays @ normal)
