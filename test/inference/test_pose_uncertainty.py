"""Covariance of the pose on rendered drives: the window's true errors, and others drawn as they are claimed."""

from __future__ import annotations

import math
import os
from dataclasses import replace

import numpy as np
import pytest
from known_world import KnownModel
from numpy.typing import NDArray

from featdepth_ros import Estimator
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.odometry import AXES_RAD, Odometry
from featdepth_ros.inference.types import Estimate, MotionState
from featdepth_ros.simulation.simulate import Simulation, SimulationConfig, default_camera

pytest.importorskip("numba")
SIZE = (192, 640)
DRAWS = 25
Floats = NDArray[np.float64]


def rendered(seed: int, frames: int) -> tuple[list[Estimate], list[Floats]]:
    """Estimates of a rendered street by the window, and the camera's true poses; the network knows the true depth."""
    simulation = Simulation(
        SimulationConfig(seed=seed, frames=frames, camera=default_camera(SIZE[1], SIZE[0])), threads=1
    )
    model = KnownModel(input_size=SIZE).eval()
    config = EstimatorConfig(precision="fp32", input_size=SIZE, motion="window", scale="factor", depth="network")
    estimator, estimates, poses = Estimator(model, config, device="cpu"), [], []
    for frame in simulation:
        assert frame.depth is not None and frame.T_world_camera is not None
        model.script.depth = np.clip(np.nan_to_num(frame.depth, nan=100.0), 0.5, 100.0)[::2, ::2]
        estimates.append(estimator.step(frame.image, frame.camera, frame.stamp_ns))
        poses.append(frame.T_world_camera)
    return estimates, poses


def normalised(found: Floats, true: Floats, covariance: Floats) -> float:
    """Normalised squared error of a pose or motion a degree of freedom; 1 is right."""
    turned = se3.vector_from_rotation(found[:3, :3] @ true[:3, :3].T)
    error = np.concatenate([found[:3, 3] - true[:3, 3], turned])
    return float(error @ np.linalg.solve(covariance, error)) / 6


def drawn(estimates: list[Estimate], random: np.random.Generator) -> tuple[Floats, list[Estimate]]:
    """Axes (4, 4) that are off, and the drive with them and a network that is wrong about metres, as is claimed."""
    axes = se3.make(se3.rotation_from_vector(AXES_RAD * random.standard_normal(3)), np.zeros(3))
    log_scale, result = random.standard_normal(), []
    for estimate in estimates:
        motion = estimate.motion
        moved = se3.inverse(axes) @ motion.T_previous_current @ axes
        moved[:3, 3] *= math.exp(log_scale * math.sqrt(motion.scale_log_variance))
        result.append(replace(estimate, motion=replace(motion, T_previous_current=moved)))
    return axes, result


def errors_of(seeds: tuple[int, ...], frames: int) -> tuple[float, float, float]:
    """Mean normalised errors of the last pose, of each step, and of the last pose were errors independent."""
    random, poses, steps, alone = np.random.default_rng(0), [], [], []
    for seed in seeds:
        estimates, true = rendered(seed, frames)
        assert sum(e.motion.state is MotionState.TRACKED for e in estimates) > 0.8 * frames
        end = se3.inverse(true[0]) @ true[-1]
        for _ in range(DRAWS):
            odometry, independent = Odometry(np.eye(4)), np.eye(6) * 1e-9
            axes, drive = drawn(estimates, random)
            for index, estimate in enumerate(drive):
                motion = estimate.motion
                before = odometry.pose
                state = odometry.update(estimate)
                if motion.state is MotionState.TRACKED:
                    # In the axes that the camera takes for its own: how they lie is no matter of a single motion.
                    step = se3.inverse(axes) @ se3.inverse(true[index - 1]) @ true[index] @ axes
                    steps.append(normalised(motion.T_previous_current, step, motion.covariance))
                if motion.state is not MotionState.FIRST:
                    lever = np.eye(6)
                    lever[:3, 3:] = -se3.hat(before[:3, :3] @ motion.T_previous_current[:3, 3])
                    turn = se3.adjoint(se3.make(before[:3, :3], np.zeros(3)))
                    independent = lever @ independent @ lever.T + turn @ motion.covariance @ turn.T
            poses.append(normalised(state.T_odom_base, end, state.pose_covariance))
            alone.append(normalised(state.T_odom_base, end, independent))
    return float(np.mean(poses)), float(np.mean(steps)), float(np.mean(alone))


@pytest.mark.slow
def test_the_pose_is_as_sure_as_it_may_be_on_a_rendered_drive() -> None:
    pose, step, alone = errors_of((9001,), 40)
    assert 0.3 < pose < 2.0, pose
    assert 0.3 < step < 2.5, step
    assert alone > 2.5 * pose


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not os.environ.get("FEATDEPTH_NIGHTLY"), reason="takes ten minutes: make test-nightly")
def test_pose_and_step_on_five_rendered_drives() -> None:
    pose, step, alone = errors_of((9001, 9002, 9003, 9004, 9005), 80)
    assert 0.5 < pose < 2.0, pose
    assert 0.5 < step < 2.0, step
    assert alone > 5.0, alone
