"""A textured wall 4 m ahead, a camera that moves down along it, and minimal networks for this motion."""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.recordings.recording import Recording

CAMERA = CameraModel(width=160, height=96, fx=120.0, fy=120.0, cx=79.5, cy=47.5)
DEPTH_M = 4.0
STEP_PX = 3
STEP_M = STEP_PX * DEPTH_M / CAMERA.fy
#: Image size (height, width) at which the focal lengths of the weights equal the camera's.
SIZE = (64, 96)
INFO = ModelInfo(
    name="plane",
    architecture="baseline_r18",
    input_size=SIZE,
    pose_input_size=SIZE,
    focal=(120 / 160, 120 / 96),
    scale_kind="metric",
    licence="MIT",
)


class PlaneModel(FeatDepthModel):
    """A model with one depth for all pixels and one motion for all pairs, both trainable."""

    nets = ("depth", "pose")

    def __init__(self, depth: float, down: float, info: ModelInfo = INFO) -> None:
        super().__init__(info)
        low, high = 1 / info.max_depth, 1 / info.min_depth
        disparity = (1 / depth - low) / (high - low)
        self.level = nn.Parameter(torch.tensor(math.log(disparity / (1 - disparity))))
        self.translation = nn.Parameter(torch.tensor([0.0, -down, 0.0]))

    def depth(self, image: Tensor) -> list[Tensor]:
        count, _, height, width = image.shape
        flat = torch.sigmoid(self.level)
        return [flat.expand(count, 1, height >> k, width >> k) for k in range(1, 5)]

    def pose(self, earlier: Tensor, later: Tensor) -> tuple[Tensor, Tensor]:
        count = earlier.shape[0]
        return earlier.new_zeros(count, 3), self.translation.expand(count, 3)


class Wall(Recording):
    """The recording; with ``step_px`` 0 the camera stands still."""

    kind = "drawn"

    def __init__(self, frames: int = 22, camera: CameraModel | None = CAMERA, step_px: int = STEP_PX) -> None:
        super().__init__("wall", camera, 10.0)
        self.frames, self.step_px = frames, step_px
        coarse = np.random.default_rng(4).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        self.texture = cv2.resize(coarse, (160, 200), interpolation=cv2.INTER_CUBIC)

    def __len__(self) -> int:
        return self.frames

    def image(self, index: int) -> NDArray[np.uint8]:
        first = self.step_px * index
        return np.ascontiguousarray(self.texture[first : first + CAMERA.height])

    def _frames(self) -> Iterator[Frame]:
        for index in range(self.frames):
            pose = np.eye(4)
            pose[1, 3] = self.step_px * index * DEPTH_M / CAMERA.fy
            depth = np.full((CAMERA.height, CAMERA.width), DEPTH_M, np.float32)
            yield Frame(self.image(index), index * 100_000_000, f"{index:03d}", self.camera, depth, pose)
