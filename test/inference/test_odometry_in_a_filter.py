"""The configuration for robot_localization: its names, what it fuses, and a small Kalman filter with its numbers."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.odometry import Odometry
from featdepth_ros.inference.types import Estimate, Motion, MotionState, ScaleState
from featdepth_ros.resources import config_file

#: Parameters of ekf_node, as its own params/ekf.yaml names them; of an input, by what follows its name.
KNOWN = set(
    "frequency sensor_timeout two_d_mode transform_time_offset transform_timeout print_diagnostics debug "
    "debug_out_file publish_tf publish_acceleration map_frame odom_frame base_link_frame world_frame use_control "
    "stamped_control control_timeout control_config acceleration_limits deceleration_limits acceleration_gains "
    "deceleration_gains smooth_lagged_data history_length dynamic_process_noise_covariance process_noise_covariance "
    "initial_estimate_covariance permit_corrected_publication reset_on_time_jump".split()
)
OF_INPUTS = set(
    "config queue_size nodelay differential relative pose_rejection_threshold twist_rejection_threshold".split()
)
STEP_S, STEPS = 0.1, 100
VELOCITY, POSE = slice(6, 12), slice(0, 6)


def parameters() -> dict[str, Any]:
    text = config_file("robot_localization.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text)["ekf_filter_node"]["ros__parameters"])


def test_every_parameter_is_one_of_the_filters() -> None:
    inputs = {name for name in parameters() if re.fullmatch(r"(odom|imu|twist|pose)\d", name)}
    assert inputs == {"odom0"}
    for name in set(parameters()) - inputs:
        head, _, tail = name.partition("_")
        assert name in KNOWN or (head in inputs and tail in OF_INPUTS), name


def test_the_twist_is_fused_and_not_the_pose() -> None:
    config = parameters()["odom0_config"]
    assert len(config) == 15 and config[VELOCITY] == [True] * 6 and not any(config[POSE]) and not any(config[12:])
    assert not parameters()["odom0_differential"]
    noise = np.array(parameters()["process_noise_covariance"]).reshape(15, 15)
    np.testing.assert_array_equal(noise, np.diag(np.diag(noise)))
    assert parameters()["publish_tf"] and parameters()["world_frame"] == parameters()["odom_frame"]


def estimate(motion: NDArray[np.float64], covariance: NDArray[np.float64], scale: float) -> Estimate:
    blank = np.ones((2, 2), dtype=np.float32)
    return Estimate(
        stamp_ns=0, image=np.zeros((2, 2, 3), np.uint8), camera=None, depth=blank, valid=blank > 0, in_image=blank > 0,
        min_depth=0.1, max_depth=80.0, sigma=None, scale=ScaleState("metric", "camera_height", 1.0, scale),
        motion=Motion(MotionState.TRACKED, motion, round(STEP_S * 1e9), covariance, scale_log_variance=scale),
    )  # fmt: skip


def drive(random: np.random.Generator, scale: float, noise: NDArray[np.float64]) -> tuple[list[Any], list[Any]]:
    """What depth_node says of a drive, and the true twists. Its errors are one scale, and noise of each motion.

    The camera's axes are the base's. The robot speeds up and turns as the filter's process noise expects.
    """
    odometry, said, true = Odometry(np.eye(4)), [], []
    wrong = math.exp(math.sqrt(scale) * random.standard_normal())
    own = np.diag([1e-2, 5e-3, 5e-3, 1e-3, 1e-3, 1e-3]) ** 2
    twist = np.array([5.0, 0.0, 0.0, 0.0, 0.0, 0.1])
    for _ in range(STEPS):
        twist = twist + np.sqrt(np.diag(noise)[VELOCITY] * STEP_S) * random.standard_normal(6)
        motion = se3.exp(twist * STEP_S)
        along = np.concatenate([motion[:3, 3], np.zeros(3)])
        error = np.sqrt(np.diag(own)) * random.standard_normal(6)
        measured = se3.make(se3.rotation_from_vector(error[3:]) @ motion[:3, :3], wrong * motion[:3, 3] + error[:3])
        said.append(odometry.update(estimate(measured, own + scale * np.outer(along, along), scale)))
        true.append(twist)
    return said, true


def filtered(said: list[Any], noise: NDArray[np.float64]) -> tuple[list[Any], tuple[Any, Any]]:
    """A Kalman filter of the twist with a constant velocity, as the configuration asks for; and what adds up.

    Returns (twist, covariance) after each step, and the sum of the first component with its variance: the way driven.
    """
    x, P, way = np.zeros(7), np.diag([1e2] * 6 + [0.0]), []
    x[:6] = np.concatenate([said[0].linear, said[0].angular])
    F = np.eye(7)
    F[6, 0] = STEP_S
    for state in said:
        P = F @ P @ F.T
        x = F @ x
        P[:6, :6] += noise[VELOCITY, VELOCITY] * STEP_S
        H = np.eye(7)[:6]
        gain = P @ H.T @ np.linalg.inv(H @ P @ H.T + state.twist_covariance)
        x = x + gain @ (np.concatenate([state.linear, state.angular]) - x[:6])
        P = (np.eye(7) - gain @ H) @ P
        way.append((x[:6].copy(), P[:6, :6].copy()))
    return way, (x[6], P[6, 6])


@pytest.mark.parametrize("scale_sigma", [0.0, 0.02])
def test_a_filter_of_the_twist_is_as_sure_as_it_may_be(scale_sigma: float) -> None:
    """Monte Carlo: normalised errors of the filtered twist are about 1 a degree of freedom."""
    noise = np.array(parameters()["process_noise_covariance"]).reshape(15, 15)
    random, errors = np.random.default_rng(1), []
    for _ in range(25):
        said, true = drive(random, scale_sigma**2, noise)
        found, _ = filtered(said, noise)
        for (twist, covariance), actual in list(zip(found, true, strict=True))[10::10]:
            error = twist - actual
            errors.append(float(error @ np.linalg.solve(covariance, error)) / 6)
    assert 0.5 < float(np.mean(errors)) < 2.0


@pytest.mark.slow
def test_the_filters_way_is_too_sure_where_the_scale_is_a_guess_and_the_nodes_pose_is_not() -> None:
    """Errors in common do not average out: a filter of twists cannot know, the node's pose covariance does."""
    noise = np.array(parameters()["process_noise_covariance"]).reshape(15, 15)
    random, of_filter, of_node = np.random.default_rng(2), [], []
    for _ in range(40):
        said, true = drive(random, 0.2**2, noise)
        _, (way, variance) = filtered(said, noise)
        actual = sum(twist[0] for twist in true) * STEP_S
        of_filter.append((way - actual) ** 2 / variance)
        pose = np.eye(4)
        for twist in true:
            pose = pose @ se3.exp(twist * STEP_S)
        error = said[-1].T_odom_base[:3, 3] - pose[:3, 3]
        of_node.append(float(error @ np.linalg.solve(said[-1].pose_covariance[:3, :3], error)) / 3)
    assert float(np.mean(of_filter)) > 5.0
    assert 0.3 < float(np.mean(of_node)) < 2.0
