"""Motions chained into pose and twist: REP-103 axes, REP-105 frames, first-order covariance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from featdepth_ros.errors import CalibrationError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.odometry import Odometry
from featdepth_ros.inference.types import Estimate, Motion, MotionState, ScaleState

SECOND_NS = 1_000_000_000


def estimate(state: MotionState, motion: np.ndarray, dt_ns: int = SECOND_NS, stamp_ns: int = 0) -> Estimate:
    """An estimate that carries a motion; the maps do not matter here."""
    blank = np.ones((2, 2), dtype=np.float32)
    return Estimate(
        stamp_ns=stamp_ns,
        image=np.zeros((2, 2, 3), dtype=np.uint8),
        camera=None,
        depth=blank,
        valid=blank > 0,
        in_image=blank > 0,
        min_depth=0.1,
        max_depth=80.0,
        sigma=None,
        motion=Motion(state, motion, dt_ns, np.eye(6) * 1e-4),
        scale=ScaleState("metric", "model", 1.0, 0.0),
    )


def forward_m(distance: float) -> np.ndarray:
    """Motion of a camera along its optical axis."""
    return se3.make(np.eye(3), (0.0, 0.0, distance))


def test_forward_along_the_optical_axis_is_plus_x() -> None:
    odometry = Odometry()
    state = odometry.update(estimate(MotionState.TRACKED, forward_m(2.0)))
    np.testing.assert_allclose(state.T_odom_base[:3, 3], [2.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(state.T_odom_base[:3, :3], se3.T_BODY_OPTICAL[:3, :3], atol=1e-12)
    np.testing.assert_allclose(state.linear, [0.0, 0.0, 2.0], atol=1e-12)  # in the base, which is the camera


def test_with_extrinsics_pose_and_twist_are_the_bases() -> None:
    T_base_camera = se3.T_BODY_OPTICAL.copy()
    T_base_camera[:3, 3] = (1.5, 0.0, 1.2)
    odometry = Odometry(T_base_camera)
    state = odometry.update(estimate(MotionState.TRACKED, forward_m(0.5), dt_ns=SECOND_NS // 10))
    np.testing.assert_allclose(state.T_odom_base, se3.make(np.eye(3), (0.5, 0.0, 0.0)), atol=1e-12)
    np.testing.assert_allclose(state.linear, [5.0, 0.0, 0.0], atol=1e-9)


def test_a_left_turn_is_a_positive_yaw_rate() -> None:
    T_base_camera = se3.T_BODY_OPTICAL.copy()
    odometry = Odometry(T_base_camera)
    # Left seen from the camera: about the optical y axis (down) by a negative angle.
    turn = se3.make(se3.rotation_from_vector((0.0, -0.1, 0.0)), (0.0, 0.0, 0.0))
    state = odometry.update(estimate(MotionState.TRACKED, turn))
    np.testing.assert_allclose(state.angular, [0.0, 0.0, 0.1], atol=1e-12)
    np.testing.assert_allclose(se3.vector_from_rotation(state.T_odom_base[:3, :3]), [0.0, 0.0, 0.1], atol=1e-12)


def test_a_steady_curve_reports_the_speed_along_the_arc() -> None:
    odometry = Odometry(np.eye(4))
    motion = se3.exp([1.0, 0.0, 0.0, 0.0, 0.0, 0.8])
    state = odometry.update(estimate(MotionState.TRACKED, motion))
    np.testing.assert_allclose(state.linear, [1.0, 0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(state.angular, [0.0, 0.0, 0.8], atol=1e-9)


@pytest.mark.parametrize("state", [MotionState.FIRST, MotionState.GAP, MotionState.UNAVAILABLE])
def test_without_a_measured_motion_the_pose_holds_and_the_twist_is_unknown(state: MotionState) -> None:
    odometry = Odometry(np.eye(4))
    before = odometry.update(estimate(MotionState.TRACKED, forward_m(3.0)))
    after = odometry.update(estimate(state, np.eye(4), dt_ns=0))
    np.testing.assert_array_equal(after.T_odom_base, before.T_odom_base)
    assert np.diag(after.twist_covariance).min() >= 1e3
    assert np.isfinite(after.twist_covariance).all()


def test_covariance_is_never_zero_and_only_grows() -> None:
    odometry = Odometry(np.eye(4))
    last = 0.0
    for _ in range(20):
        state = odometry.update(estimate(MotionState.TRACKED, forward_m(1.0)))
        np.linalg.cholesky(state.pose_covariance)
        np.linalg.cholesky(state.twist_covariance)
        trace = float(np.trace(state.pose_covariance))
        assert trace > last
        last = trace
    # A heading uncertain by sigma puts a point 20 m on across by more than a straight sum would.
    assert state.pose_covariance[1, 1] > 20 * 1e-4


def random_motions(count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A sharp turn known well, then a drive round a corner, with covariances that tie position to rotation."""
    random = np.random.default_rng(5)
    motions = [se3.exp([0.1, 0.0, 1.0, 0.01, 0.03 + 0.01 * k, 0.01]) for k in range(count)]
    factors = [random.standard_normal((6, 6)) for _ in range(count)]
    size = np.diag([0.02, 0.03, 0.05, 0.004, 0.006, 0.002])
    covariances = [size @ (factor @ factor.T / 6 + 0.2 * np.eye(6)) @ size for factor in factors]
    return [se3.exp([0.0, 0.0, 1.0, 0.0, 1.2, 0.0]), *motions], [1e-9 * np.eye(6), *covariances]


def perturbed(motion: np.ndarray, error: np.ndarray) -> np.ndarray:
    """The motion with an error of (x y z, rotation about x y z), both in the previous camera's axes."""
    return se3.make(se3.rotation_from_vector(error[3:]) @ motion[:3, :3], motion[:3, 3] + error[:3])


def spread(errors: list[np.ndarray], promised: np.ndarray) -> np.ndarray:
    """Eigenvalues of the errors' covariance in units of the promised one: all are 1 when the promise is kept."""
    whiten = np.linalg.inv(np.linalg.cholesky(promised))
    return np.linalg.eigvalsh(whiten @ np.cov(np.array(errors).T) @ whiten.T)


def test_covariances_are_those_of_many_perturbed_drives() -> None:
    """Monte Carlo. A turn of the camera swings the base, which is far away; an early turn swings all that follows."""
    T_base_camera = se3.T_BODY_OPTICAL.copy()
    T_base_camera[:3, 3] = (2.0, 0.5, 1.5)
    motions, covariances = random_motions(4)
    still = Odometry(T_base_camera)
    for motion, covariance in zip(motions, covariances, strict=True):
        given = estimate(MotionState.TRACKED, motion, SECOND_NS // 2)
        true = still.update(replace(given, motion=replace(given.motion, covariance=covariance)))
    poses, twists = [], []
    random = np.random.default_rng(6)
    roots = [np.linalg.cholesky(covariance) for covariance in covariances]
    for _ in range(1000):
        odometry = Odometry(T_base_camera)
        for motion, root in zip(motions, roots, strict=True):
            wrong = perturbed(motion, root @ random.standard_normal(6))
            state = odometry.update(estimate(MotionState.TRACKED, wrong, SECOND_NS // 2))
        turned = se3.vector_from_rotation(state.T_odom_base[:3, :3] @ true.T_odom_base[:3, :3].T)
        poses.append(np.concatenate([state.T_odom_base[:3, 3] - true.T_odom_base[:3, 3], turned]))
        twists.append(np.concatenate([state.linear - true.linear, state.angular - true.angular]))
    for errors, promised in ((poses, true.pose_covariance), (twists, true.twist_covariance)):
        found = spread(errors, promised)
        assert 0.7 < found.min() and found.max() < 1.4, found


def test_reset_goes_back_to_the_origin() -> None:
    odometry = Odometry(np.eye(4))
    odometry.update(estimate(MotionState.TRACKED, forward_m(3.0)))
    odometry.reset()
    state = odometry.update(estimate(MotionState.FIRST, np.eye(4), dt_ns=0))
    np.testing.assert_array_equal(state.T_odom_base, np.eye(4))


def test_extrinsics_that_are_no_rotation_are_refused() -> None:
    with pytest.raises(CalibrationError, match="not rigid"):
        Odometry(np.diag([2.0, 1.0, 1.0, 1.0]))
