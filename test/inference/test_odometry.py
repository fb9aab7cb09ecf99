"""Motions chained into pose and twist: REP-103 axes, REP-105 frames, first-order covariance."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from featdepth_ros.errors import CalibrationError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.odometry import AXES_RAD, COMMON_SHARE, SCALE_SECONDS, Odometry
from featdepth_ros.inference.types import Estimate, Motion, MotionState, ScaleState

SECOND_NS = 1_000_000_000


def estimate(
    state: MotionState,
    motion: np.ndarray,
    dt_ns: int = SECOND_NS,
    covariance: np.ndarray | None = None,
    scale: float = 0.0,
) -> Estimate:
    """An estimate that carries a motion; the maps do not matter here.

    ``covariance`` is that of the motion without its common log scale, whose variance is ``scale``.
    """
    blank = np.ones((2, 2), dtype=np.float32)
    along = np.concatenate([motion[:3, 3], np.zeros(3)])
    covariance = (np.eye(6) * 1e-4 if covariance is None else covariance) + scale * np.outer(along, along)
    return Estimate(
        stamp_ns=0,
        image=np.zeros((2, 2, 3), dtype=np.uint8),
        camera=None,
        depth=blank,
        valid=blank > 0,
        in_image=blank > 0,
        min_depth=0.1,
        max_depth=80.0,
        sigma=None,
        motion=Motion(state, motion, dt_ns, covariance, scale_log_variance=scale),
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
    """Monte Carlo. A turn of the camera swings the base, which is far away; an early turn swings all that follows.

    Scale, axes and a share of each motion's error are the same all along a drive; the scale is measured on the way.
    """
    T_base_camera = se3.T_BODY_OPTICAL.copy()
    T_base_camera[:3, 3] = (2.0, 0.5, 1.5)
    motions, covariances = random_motions(6)
    scales = [0.04**2, 0.04**2, 0.04**2, 0.03**2, 0.02**2, 0.02**2, 0.02**2]
    given = [
        estimate(MotionState.TRACKED, motion, SECOND_NS // 2, covariance=covariance, scale=scale)
        for motion, covariance, scale in zip(motions, covariances, scales, strict=True)
    ]
    still = Odometry(T_base_camera)
    for frame in given:
        true = still.update(frame)
    poses, twists = [], []
    random = np.random.default_rng(6)
    for _ in range(800):
        odometry = Odometry(T_base_camera)
        for frame in disturbed(given, random):
            state = odometry.update(frame)
        turned = se3.vector_from_rotation(state.T_odom_base[:3, :3] @ true.T_odom_base[:3, :3].T)
        poses.append(np.concatenate([state.T_odom_base[:3, 3] - true.T_odom_base[:3, 3], turned]))
        twists.append(np.concatenate([state.linear - true.linear, state.angular - true.angular]))
    found = spread(poses, true.pose_covariance)
    assert 0.7 < found.min() and found.max() < 1.4, found
    found = spread(twists, true.twist_covariance)
    assert 0.7 < found.min() and found.max() < 1.4, found
    # Without what motions have in common, the same poses are further off than told.
    alone = Odometry(T_base_camera)
    for frame in given:
        told = alone.update(replace(frame, motion=replace(frame.motion, scale_log_variance=0.0)))
    assert spread(poses, told.pose_covariance).max() > 1.6


def disturbed(frames: list[Estimate], random: np.random.Generator) -> list[Estimate]:
    """A drive with errors as they are: one scale, one error of the axes, and of the rest a share in common."""
    axes = se3.make(se3.rotation_from_vector(AXES_RAD * random.standard_normal(3)), np.zeros(3))
    common, scale, before = random.standard_normal(6), 0.0, 0.0
    result = []
    for frame in frames:
        motion = frame.motion
        variance, kept = motion.scale_log_variance, math.exp(-0.5 / SCALE_SECONDS)
        kept *= min(1.0, variance / before) if before else 0.0
        scale = kept * scale + math.sqrt(variance - kept**2 * before) * random.standard_normal()
        before = variance
        along = np.concatenate([motion.T_previous_current[:3, 3], np.zeros(3)])
        own = motion.covariance - variance * np.outer(along, along)
        values, vectors = np.linalg.eigh(own)
        root = (vectors * np.sqrt(values)) @ vectors.T
        drawn = math.sqrt(COMMON_SHARE) * common + math.sqrt(1 - COMMON_SHARE) * random.standard_normal(6)
        turned = se3.inverse(axes) @ motion.T_previous_current @ axes
        wrong = perturbed(turned, scale * along + root @ drawn)
        result.append(replace(frame, motion=replace(motion, T_previous_current=wrong)))
    return result


def test_a_scale_in_common_adds_up_and_a_measured_one_no_more() -> None:
    """Ten metres with a scale known to 20 % are known to 2 m; metres after the scale was measured hardly add to it."""
    odometry = Odometry(np.eye(4))
    frames = [estimate(MotionState.TRACKED, forward_m(1.0), SECOND_NS // 10, 1e-6 * np.eye(6), 0.2**2)] * 10
    frames += [estimate(MotionState.TRACKED, forward_m(1.0), SECOND_NS // 10, 1e-6 * np.eye(6), 0.01**2)] * 10
    deviations = [math.sqrt(odometry.update(frame).pose_covariance[2, 2]) for frame in frames]
    assert deviations[9] == pytest.approx(2.0, rel=0.02)
    assert deviations[19] == pytest.approx(2.0, rel=0.06)


def test_axes_that_are_off_lead_to_one_side() -> None:
    odometry = Odometry(np.eye(4))
    for _ in range(100):
        state = odometry.update(estimate(MotionState.TRACKED, forward_m(1.0), SECOND_NS // 10, 1e-9 * np.eye(6)))
    assert math.sqrt(state.pose_covariance[0, 0]) == pytest.approx(100 * AXES_RAD, rel=0.1)
    assert math.sqrt(state.pose_covariance[2, 2]) < 0.1 * 100 * AXES_RAD
    # The twist says so too, in the base's axes: ten metres a second may lead aside, and not ahead or round a curve.
    deviations = np.sqrt(np.diag(state.twist_covariance))
    np.testing.assert_allclose(deviations[:2], 10 * AXES_RAD, rtol=0.01)
    assert deviations[2:].max() < 1e-3


@pytest.mark.parametrize("dark", [MotionState.BLIND, MotionState.FROZEN])
def test_a_motion_across_a_dark_stretch_makes_the_pose_known_again(dark: MotionState) -> None:
    """The covariance afterwards is that of the two motions that were measured; a new start keeps what grew."""
    unknown, tracked = np.diag([900.0] * 3 + [1.0] * 3), MotionState.TRACKED
    seen = [(1, tracked, 1), (2, tracked, 1)]
    dark_seconds = [(3, dark, 1), (4, dark, 1)]

    def after(frames: list[tuple[int, MotionState, int]]) -> np.ndarray:
        odometry = Odometry(np.eye(4))
        for second, state, dt_s in frames:
            T, covariance = (forward_m(1.0 * dt_s), None) if state is tracked else (np.eye(4), unknown)
            frame = estimate(state, T, dt_s * SECOND_NS, covariance)
            told = odometry.update(replace(frame, stamp_ns=second * SECOND_NS))
        return told.pose_covariance

    expected = after([*seen, (5, tracked, 3)])
    np.testing.assert_allclose(after([*seen, *dark_seconds, (5, tracked, 3)]), expected, rtol=1e-12)
    assert after([*seen, *dark_seconds])[0, 0] > 1000.0, "while it is dark"
    lost = [*seen, *dark_seconds, (5, MotionState.LOST, 3), (6, tracked, 1)]
    assert after(lost)[0, 0] > 1000.0, "motion starts anew where it was lost: nothing leads across"
    late = [*seen, *dark_seconds, (5, MotionState.GAP, 3), (6, tracked, 1), (7, tracked, 1)]
    assert after(late)[0, 0] > 1000.0


def test_reset_goes_back_to_the_origin() -> None:
    odometry = Odometry(np.eye(4))
    odometry.update(estimate(MotionState.TRACKED, forward_m(3.0)))
    odometry.reset()
    state = odometry.update(estimate(MotionState.FIRST, np.eye(4), dt_ns=0))
    np.testing.assert_array_equal(state.T_odom_base, np.eye(4))


def test_extrinsics_that_are_no_rotation_are_refused() -> None:
    with pytest.raises(CalibrationError, match="not rigid"):
        Odometry(np.diag([2.0, 1.0, 1.0, 1.0]))
