"""What the gates make of whole recordings: a known wall, and rendered drives with the weights that ship."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from known_world import CAMERA, KnownModel, Wall
from numpy.typing import NDArray

from featdepth_ros import Estimator, load_model
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.gates.plausible import absurdity
from featdepth_ros.inference.odometry import Odometry
from featdepth_ros.inference.types import Estimate, Motion, MotionState, ScaleState
from featdepth_ros.resources import weights_file

STEP_NS = 100_000_000
TRACKED, BLIND, FROZEN = MotionState.TRACKED, MotionState.BLIND, MotionState.FROZEN
#: 1 m/s sideways.
SHIFT_M = 0.1

Fault = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


def model() -> KnownModel:
    made = KnownModel()
    made.script.motion = ([0.0, 0.0, 0.0], [-SHIFT_M, 0.0, 0.0])
    return made


def drive(faults: dict[int, Fault], frames: int = 12, **config: object) -> list[Estimate]:
    """Estimates of a drive along the wall, its picture spoiled at some frames."""
    wall, estimator = Wall(), Estimator(model(), EstimatorConfig(**{"motion": "network", **config}), device="cpu")
    found = []
    for index in range(frames):
        image = wall.view(se3.make(np.eye(3), np.array([SHIFT_M * index, 0.0, 0.0])), noise=1.0, seed=index)
        found.append(estimator.step(faults.get(index, lambda x: x)(image), CAMERA, index * STEP_NS))
    return found


def test_a_hard_cut_is_lost_where_motion_is_the_networks_alone() -> None:
    pytest.importorskip("numba")
    other, place = Wall(seed=1), se3.make(np.eye(3), np.array([SHIFT_M * 5, 0.0, 0.0]))
    found = drive({index: lambda _: other.view(place, noise=1.0) for index in (5,)}, frames=9)
    states = [e.motion.state for e in found]
    assert states == [MotionState.FIRST, *[TRACKED] * 4, *[MotionState.LOST] * 2, *[TRACKED] * 2]
    for lost in found[5:7]:  # into the other place, and back
        np.testing.assert_array_equal(lost.motion.T_previous_current, np.eye(4))
        assert (np.diag(lost.motion.covariance) >= 1.0).all() and np.isfinite(lost.depth).all()


@pytest.mark.parametrize(("wrong", "state"), [(1.4, TRACKED), (40.0, MotionState.LOST)])
def test_a_motion_of_the_network_is_lost_once_it_contradicts_the_picture(wrong: float, state: MotionState) -> None:
    """Within three deviations, of a fifth of the motion each, it is bad and no more; forty times too long is none."""
    pytest.importorskip("numba")
    wall, made = Wall(), model()
    made.script.depth = wall.depth(np.eye(4))
    made.script.motion = ([0.0, 0.0, 0.0], [-wrong * SHIFT_M, 0.0, 0.0])
    estimator = Estimator(made, EstimatorConfig(motion="network", max_speed_mps=1000.0), device="cpu")
    for index in range(3):
        image = wall.view(se3.make(np.eye(3), np.array([SHIFT_M * index, 0.0, 0.0])), noise=1.0, seed=index)
        estimate = estimator.step(image, CAMERA, index * STEP_NS)
    assert estimate.motion.state is state


def test_a_picture_with_little_in_it_contradicts_no_motion() -> None:
    made, estimates = model(), []
    estimator = Estimator(made, EstimatorConfig(motion="network", standing_gate=False), device="cpu")
    for index in range(3):
        image = np.full((96, 320, 3), 90, np.uint8)
        image[20:70, 100 + 3 * index : 180 + 3 * index] = 150  # four corners in all
        estimates.append(estimator.step(image, CAMERA, index * STEP_NS).motion.state)
    assert estimates[1:] == [TRACKED] * 2


def black(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.zeros_like(image)


def half_black(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    dark = image.copy()
    dark[:, :160] = 0
    return dark


def test_a_blind_picture_claims_nothing_and_the_next_is_compared_with_the_last_that_was_seen() -> None:
    found = drive(dict.fromkeys((4, 5, 6), black))
    assert [e.motion.state for e in found] == [MotionState.FIRST, *[TRACKED] * 3, *[BLIND] * 3, *[TRACKED] * 5]
    for blind in found[4:7]:
        assert np.isnan(blind.depth).all() and not blind.valid.any()
        assert np.isfinite(blind.finite_depth).all() and blind.finite_depth.shape == blind.depth.shape
        assert "dark" in blind.motion.reason and blind.motion.dt_ns == STEP_NS
        np.testing.assert_array_equal(blind.motion.T_previous_current, np.eye(4))
        assert (np.diag(blind.motion.covariance) >= 1.0).all()
    assert found[7].motion.dt_ns == 4 * STEP_NS
    assert np.isfinite(found[3].depth).all() and found[3].guessed_depth is None


def test_the_pose_holds_and_its_covariance_grows_while_nothing_is_seen() -> None:
    odometry = Odometry()
    states = [odometry.update(e) for e in drive(dict.fromkeys((4, 5, 6), black))]
    before, blind, after = states[3], states[6], states[7]
    np.testing.assert_array_equal(before.T_odom_base, blind.T_odom_base)
    assert np.diag(blind.pose_covariance)[0] > 1e3 * np.diag(before.pose_covariance)[0]
    assert (blind.linear == 0).all() and np.diag(blind.twist_covariance)[0] >= 1e4
    moved = after.T_odom_base[:3, 3] - blind.T_odom_base[:3, 3]
    np.testing.assert_allclose(moved, [0.0, -SHIFT_M, 0.0], atol=1e-6)  # right is -y (REP-103)
    # Measured from the last picture that was seen: pose and twist are known again as if it had never been dark.
    bright = [odometry.update(e) for odometry in [Odometry()] for e in drive({})]
    late = bright[7].pose_covariance
    assert (np.diag(after.pose_covariance) < 2.0 * np.diag(late)).all()
    assert (np.diag(states[11].pose_covariance) < 2.0 * np.diag(bright[11].pose_covariance)).all()
    np.testing.assert_allclose(states[8].twist_covariance, bright[8].twist_covariance, rtol=1e-6)


def test_where_half_the_picture_is_black_depth_is_missing_there_alone() -> None:
    found = drive({5: half_black})
    assert found[5].motion.state is TRACKED
    missing = np.isnan(found[5].depth)
    assert missing[:, :140].all() and not missing[:, 180:].any()
    assert not found[5].valid[:, :140].any() and found[5].valid[:, 200:].mean() > 0.8
    delivered = drive({5: half_black}, output_size="input")[5].depth
    assert np.isnan(delivered[:, :140]).all() and np.isfinite(delivered[:, 180:]).all()


def test_a_driver_that_repeats_a_picture_is_frozen_and_no_motion_is_claimed() -> None:
    wall, estimator = Wall(), Estimator(model(), EstimatorConfig(motion="network"), device="cpu")
    images = [wall.view(se3.make(np.eye(3), np.array([x, 0.0, 0.0])), noise=1.0) for x in (0.0, 0.1, 0.2)]
    order = [0, 1, *[1] * 12, 2]
    found = [estimator.step(images[number], CAMERA, n * STEP_NS) for n, number in enumerate(order)]
    assert [e.motion.state for e in found[:14]] == [MotionState.FIRST, TRACKED, *[FROZEN] * 12]
    assert np.isfinite(found[11].depth).all(), "a second old"
    assert np.isnan(found[12].depth).all(), "older than max_gap_s: nothing is seen of the present"
    assert found[14].motion.state is MotionState.GAP
    assert (np.diag(found[5].motion.covariance) >= 1.0).all()


def test_a_simulators_camera_stands_on_identical_pictures() -> None:
    estimator = Estimator(model(), EstimatorConfig(motion="network", noise_free_camera=True), device="cpu")
    image = Wall().view(np.eye(4))
    states = [estimator.step(image, CAMERA, n * STEP_NS).motion.state for n in range(5)]
    assert states == [MotionState.FIRST, *[MotionState.STANDING] * 4]


def test_an_absurd_motion_is_refused_and_the_next_is_measured_again() -> None:
    found = drive({}, frames=4, max_speed_mps=0.5)
    assert [e.motion.state for e in found] == [MotionState.FIRST, *[MotionState.LOST] * 3]
    assert all(e.motion.refused and "1.0 m/s" in e.motion.reason and "0.5" in e.motion.reason for e in found[1:])
    np.testing.assert_array_equal(found[2].motion.T_previous_current, np.eye(4))
    assert (np.diag(found[2].motion.covariance) >= 1.0).all()
    relative = drive({}, frames=4, max_speed_mps=0.5, scale="relative")
    assert [e.motion.state for e in relative[1:]] == [TRACKED] * 3, "nothing is known of metres"


@pytest.mark.parametrize(
    ("T", "kind", "says"),
    [
        (se3.make(np.eye(3), np.array([0.0, 0.0, 5.9])), "metric", ""),
        (se3.make(np.eye(3), np.array([0.0, 0.0, 6.1])), "metric", "max_speed_mps"),
        (se3.make(np.eye(3), np.array([0.0, 0.0, 6.1])), "relative", ""),
        (se3.exp(np.array([0.0, 0.0, 0.0, 0.0, 0.9, 0.0])), "relative", ""),
        (se3.exp(np.array([0.0, 0.0, 0.0, 0.0, 1.1, 0.0])), "relative", "max_turn_rps"),
        (np.full((4, 4), np.nan), "metric", "not finite"),
    ],
)
def test_what_is_absurd(T: NDArray[np.float64], kind: str, says: str) -> None:
    motion = Motion(TRACKED, T, STEP_NS, np.eye(6))
    scale = ScaleState(kind, "model", 1.0, 0.0)  # type: ignore[arg-type]
    reason = absurdity(motion, scale, EstimatorConfig())
    assert says in reason and bool(reason) == bool(says)
    assert not absurdity(replace(motion, state=MotionState.STANDING), scale, EstimatorConfig())


@functools.cache
def rendered(fault: str) -> tuple[list[Estimate], list[NDArray[np.float64]]]:
    """Estimates and true poses of a street drive of 52 frames, at 10 m/s, with a fault from frame 16 on."""
    pytest.importorskip("numba")
    from featdepth_ros.simulation import CameraEffects, Faults, Simulation, SimulationConfig

    faults = Faults(dark=(16, 34)) if fault == "dark" else Faults(cut=(16, 20.0))
    frames = 52 if fault == "dark" else 24
    noise = CameraEffects(noise=0.01)
    simulation = Simulation(SimulationConfig(seed=8, frames=frames, effects=noise, faults=faults), threads=1)
    estimator = Estimator(load_model(weights_file("compact"), device="cpu"), device="cpu")
    found = [estimator.step(frame.image, frame.camera, frame.stamp_ns) for frame in simulation]
    return found, simulation.poses


def speeds(found: list[Estimate]) -> NDArray[np.float64]:
    steps = [np.linalg.norm(e.motion.T_previous_current[:3, 3]) / max(e.motion.dt_ns, 1) * 1e9 for e in found]
    return np.array(steps)


@pytest.mark.slow
def test_a_drive_into_a_dark_tunnel_and_out_again() -> None:
    found, poses = rendered("dark")
    states = [e.motion.state for e in found]
    assert set(states[1:12]) == {TRACKED}, "before the tunnel"
    assert set(states[16:35]) == {BLIND}, "inside"
    assert set(states[40:]) == {TRACKED}, "after it"
    assert {MotionState.STANDING, FROZEN}.isdisjoint(states)
    assert MotionState.GAP in states[35:40], "two seconds lie between what was seen before and after"
    true = np.array([np.linalg.norm(b[:3, 3] - a[:3, 3]) * 10 for a, b in pairwise(poses)])
    moving = np.array([s is TRACKED for s in states])
    ratio = speeds(found)[1:][moving[1:]] / true[moving[1:]]
    assert (ratio > 0.5).all() and (ratio < 1.5).all(), "a motion that is claimed is about right"
    assert all(np.isnan(e.depth).all() for e in found[16:35])
    for stretch in (found[1:11], found[46:]):
        assert np.mean([e.valid.mean() for e in stretch]) > 0.6


@pytest.mark.slow
def test_a_hard_cut_is_lost_for_one_frame() -> None:
    found, _ = rendered("cut")
    states = [e.motion.state for e in found]
    assert states[16] is MotionState.LOST
    assert states[1:16] == [TRACKED] * 15 and states[17:] == [TRACKED] * 7
    assert speeds(found).max() < 15.0
