"""A short rendered drive for the window's tests."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.simulation.simulate import Simulation, SimulationConfig, default_camera
from featdepth_ros.simulation.trajectories import DriveStyle

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Drive:
    """Pictures of a rendered drive with their truth."""

    camera: CameraModel
    greys: list[NDArray[np.uint8]]
    depths: list[NDArray[np.float32]]
    poses: list[Floats]  # T_world_camera

    def motion(self, index: int) -> Floats:
        """T_previous_current (4, 4) from frame index - 1 to index."""
        return se3.inverse(self.poses[index - 1]) @ self.poses[index]


@pytest.fixture(scope="session")
def drive() -> Drive:
    """Thirty frames along a street; the truth of the sky is far away."""
    config = SimulationConfig(
        scene="street", seed=5, frames=30, camera=default_camera(640, 192),
        driving=DriveStyle(speed_mps=(6.0, 8.0), stops=0.0),
    )  # fmt: skip
    frames = list(Simulation(config, threads=1))
    greys = [cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY) for frame in frames]
    depths = [np.nan_to_num(frame.depth, nan=200.0) for frame in frames]
    return Drive(config.camera, greys, depths, [frame.T_world_camera for frame in frames])
