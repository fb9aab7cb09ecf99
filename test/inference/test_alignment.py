"""Alignment against rendered truth: true depth in, true motion out, from a poor guess."""

from __future__ import annotations

import numpy as np
import pytest

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.alignment import View, align
from featdepth_ros.recordings import Frame

pytest.importorskip("numba")


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    from featdepth_ros.simulation import Simulation, SimulationConfig

    return list(Simulation(SimulationConfig(scene="street", seed=8, frames=6)))


def view(frame: Frame, depth_factor: float = 1.0) -> View:
    assert frame.depth is not None
    grey = frame.image.mean(axis=2).round().astype(np.uint8)
    return View(grey, np.nan_to_num(frame.depth, nan=1e3) * np.float32(depth_factor), np.isfinite(frame.depth))


def true_motion(earlier: Frame, later: Frame) -> np.ndarray:
    assert earlier.T_world_camera is not None and later.T_world_camera is not None
    return se3.inverse(later.T_world_camera) @ earlier.T_world_camera


@pytest.mark.parametrize("step", [1, 3])
def test_true_depth_gives_the_true_motion_from_no_guess(frames: list[Frame], step: int) -> None:
    earlier, later = frames[0], frames[step]
    assert earlier.camera is not None
    truth = true_motion(earlier, later)
    aligned = align(view(earlier), view(later), earlier.camera, np.eye(4))
    assert aligned is not None
    distance = np.linalg.norm(truth[:3, 3])
    assert distance > 0.3
    assert np.linalg.norm(aligned.T_later_earlier[:3, 3] - truth[:3, 3]) < 0.03 * distance
    turned = se3.vector_from_rotation(aligned.T_later_earlier[:3, :3].T @ truth[:3, :3])
    assert np.degrees(np.linalg.norm(turned)) < 0.05
    np.linalg.cholesky(aligned.covariance + 1e-15 * np.eye(6))


def test_the_unit_is_the_depths(frames: list[Frame]) -> None:
    earlier, later = frames[0], frames[1]
    assert earlier.camera is not None
    truth = true_motion(earlier, later)
    aligned = align(view(earlier, 0.1), view(later), earlier.camera, np.eye(4))
    assert aligned is not None
    np.testing.assert_allclose(
        np.linalg.norm(aligned.T_later_earlier[:3, 3]), 0.1 * np.linalg.norm(truth[:3, 3]), rtol=0.03
    )


def test_unrelated_and_empty_pictures_give_no_answer(frames: list[Frame]) -> None:
    earlier = frames[0]
    assert earlier.camera is not None
    random = np.random.default_rng(0)
    noise = View(random.integers(0, 256, (192, 640), dtype=np.uint8), view(earlier).depth, view(earlier).trusted)
    blank = View(np.full((192, 640), 90, dtype=np.uint8), view(earlier).depth, view(earlier).trusted)
    assert align(view(earlier), noise, earlier.camera, np.eye(4)) is None
    assert align(blank, blank, earlier.camera, np.eye(4)) is None


def test_the_estimator_falls_back_on_the_pose_network() -> None:
    import torch

    from featdepth_ros import Estimator
    from featdepth_ros.geometry.cameras import CameraModel
    from featdepth_ros.inference.config import EstimatorConfig
    from featdepth_ros.inference.types import MotionState
    from featdepth_ros.models.build import build_model

    torch.manual_seed(0)
    camera = CameraModel(128, 64, 74.0, 123.0, 63.5, 31.5)
    config = EstimatorConfig(input_size=(64, 128), precision="fp32", motion="aligned")
    estimator = Estimator(build_model("compact").eval(), config)
    random = np.random.default_rng(1)
    for index in range(2):
        estimate = estimator.step(random.integers(0, 256, (64, 128, 3), dtype=np.uint8), camera, index * 10**8)
    assert estimate.motion.state is MotionState.TRACKED
    assert np.isfinite(estimate.motion.T_previous_current).all()
