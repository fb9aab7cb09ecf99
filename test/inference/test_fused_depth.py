"""The correction of depth that is kept: while the camera stands, and along motions that measure nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from featdepth_ros import Estimator, load_model
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.fused_depth import CARRIED_SHARE, DepthFusion, PublishedDepth
from featdepth_ros.inference.motion import MeasuredMotion
from featdepth_ros.inference.types import Motion, MotionState, ScaleState
from featdepth_ros.simulation.camera_path import Motion as CameraMotion
from featdepth_ros.simulation.simulate import Simulation, SimulationConfig, default_camera

HEIGHT, WIDTH = 32, 104
CAMERA = CameraModel(WIDTH, HEIGHT, 60.0, 60.0, 51.5, 15.5)
SCALE = ScaleState("metric", "model", 2.0, 0.01)


@dataclass(frozen=True)
class Frame:
    """What fusion asks of a frame."""

    network_depth: torch.Tensor
    depth_camera: CameraModel | None = CAMERA

    @property
    def host_depth(self) -> np.ndarray:
        return self.network_depth[0, 0].numpy()


@dataclass(frozen=True)
class Points:
    pixels: np.ndarray
    depth: np.ndarray
    information: np.ndarray


@dataclass(frozen=True)
class Window:
    points: Points
    camera: CameraModel | None = CAMERA


def frame(camera: CameraModel | None = CAMERA, columns: int = WIDTH) -> Frame:
    rows = torch.arange(HEIGHT, dtype=torch.float32)[:, None]
    return Frame((6.0 - 4.0 * rows / HEIGHT).expand(HEIGHT, columns)[None, None].clone(), camera)


def measured(state: MotionState, factor: float | None = None, shift_m: float = 0.0, count: int = 150) -> MeasuredMotion:
    """A motion to the right; with a factor, points that say so much more than the network on the left half."""
    T = np.eye(4)
    T[0, 3] = shift_m
    window: Any = None
    if factor is not None:
        rng = np.random.default_rng(0)
        pixels = rng.uniform(0, [WIDTH - 1, HEIGHT - 1], (count, 2))
        depth = 2.0 * (6.0 - 4.0 * pixels[:, 1] / HEIGHT) * np.where(pixels[:, 0] < WIDTH / 2, factor, 1.0)
        window = Window(Points(pixels, depth, np.full(count, 900.0)))
    return MeasuredMotion(Motion(state, T, 100_000_000, np.eye(6)), None, window)


def log_ratio(depth: PublishedDepth) -> np.ndarray:
    return np.asarray(torch.log(depth.values / (depth.frame.network_depth * depth.factor))[0, 0])


def step(fusion: DepthFusion, motion: MeasuredMotion, of: Any = None) -> PublishedDepth:
    return fusion.update(of or frame(), SCALE, motion)


def test_without_points_depth_is_exactly_the_networks():
    for wanted, motion in ((True, measured(MotionState.TRACKED)), (False, measured(MotionState.TRACKED, 1.3))):
        depth = step(DepthFusion(wanted), motion)
        assert depth.correction is None and torch.equal(depth.values, frame().network_depth * 2.0)
        assert np.isfinite(depth.sigma).all()


def test_a_standing_camera_keeps_its_correction():
    fusion = DepthFusion(True)
    driving = step(fusion, measured(MotionState.TRACKED, 1.3))
    assert np.abs(log_ratio(driving)).max() > 0.15
    for _ in range(50):
        standing = step(fusion, measured(MotionState.STANDING))
        np.testing.assert_array_equal(log_ratio(standing), log_ratio(driving))
        np.testing.assert_array_equal(standing.sigma, driving.sigma)


def test_a_correction_is_carried_along_and_fades():
    fusion = DepthFusion(True)
    first = log_ratio(step(fusion, measured(MotionState.TRACKED, 1.3)))
    # 1.2 units to the right: at the bottom row, 4 units away, the picture moves by 18 columns to the left.
    carried = log_ratio(step(fusion, measured(MotionState.TRACKED, shift_m=1.2)))
    bottom = frame().network_depth[0, 0, -1, 0].item() * SCALE.factor
    columns = round(1.2 * 60 / bottom)
    np.testing.assert_allclose(carried[-1, : 80 - columns], CARRIED_SHARE * first[-1, columns:80], atol=0.02)
    largest = [np.abs(log_ratio(step(fusion, measured(MotionState.TRACKED, shift_m=0.0)))).max() for _ in range(60)]
    assert (np.diff(largest) <= 1e-6).all() and largest[0] > 0.1 and largest[-1] == 0


def test_few_points_leave_the_rest_to_what_was_known():
    fusion = DepthFusion(True)
    first = log_ratio(step(fusion, measured(MotionState.TRACKED, 1.3)))
    alone = log_ratio(step(DepthFusion(True), measured(MotionState.TRACKED, 1.3, count=25)))
    both = log_ratio(step(fusion, measured(MotionState.TRACKED, 1.3, count=25)))
    left = (slice(8, 24), slice(10, 40))
    assert 0 < alone[left].mean() < 0.9 * both[left].mean() < 1.1 * first[left].mean()


@pytest.mark.parametrize("state", [MotionState.LOST, MotionState.FIRST])
def test_an_unknown_motion_forgets_it(state):
    fusion = DepthFusion(True)
    step(fusion, measured(MotionState.TRACKED, 1.3))
    assert step(fusion, measured(state)).correction is None


def test_a_gap_leaves_the_common_factor():
    fusion = DepthFusion(True)
    before = log_ratio(step(fusion, measured(MotionState.TRACKED, 1.3)))
    after = log_ratio(step(fusion, measured(MotionState.GAP)))
    assert np.ptp(after) < 1e-5 < np.ptp(before) and 0.02 < after.mean() < before.max()


def test_another_size_or_a_reset_forgets_it():
    for spoil in ("size", "reset"):
        fusion = DepthFusion(True)
        step(fusion, measured(MotionState.TRACKED, 1.3))
        if spoil == "reset":
            fusion.reset()
        of = frame(columns=WIDTH - 8) if spoil == "size" else frame()
        assert step(fusion, measured(MotionState.STANDING), of).correction is None


@pytest.mark.slow
def test_a_rendered_drive_that_stops_keeps_its_depth():
    pytest.importorskip("numba")
    config = SimulationConfig(
        scene="room", seed=7001, frames=34, camera=default_camera(416, 128), motion=CameraMotion(stands=((2.2, 9.0),))
    )
    estimator = Estimator(load_model("compact-nc"), EstimatorConfig(), device="cpu")
    errors: dict[str, list[float]] = {"moving": [], "standing": [], "network": []}
    shown: list[np.ndarray] = []
    by_network: list[np.ndarray] = []
    for taken in Simulation(config):
        estimate = estimator.step(taken.image, taken.camera, taken.stamp_ns)
        truth = taken.depth
        assert truth is not None
        error = float(np.mean(np.abs(estimate.depth * np.median(truth) / np.median(estimate.depth) - truth) / truth))
        state = estimate.motion.state
        if state is MotionState.STANDING:
            errors["standing"].append(error)
            shown.append(estimate.depth)
            assert estimate.network_depth is not None
            by_network.append(estimate.network_depth)
        elif estimate.motion.state is MotionState.TRACKED:
            errors["moving"].append(error)
        else:
            errors["network"].append(error)
    assert len(shown) > 5
    last_moving = errors["moving"][-1]  # whose correction is held
    assert np.mean(errors["standing"]) < 1.04 * last_moving < 0.9 * errors["network"][0]
    flicker, own = (np.abs(np.diff(np.log(maps), axis=0)).mean() for maps in (shown, by_network))
    assert flicker < 1.2 * own < 0.01  # the sensor's noise, and nothing on top
