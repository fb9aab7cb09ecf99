"""The estimator where every answer is known: its mask, its creeping camera, and what its covariance promises."""

from __future__ import annotations

import numpy as np
import pytest
from known_world import CAMERA, SIZE, KnownModel, Wall
from numpy.typing import NDArray

from featdepth_ros import Estimator
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.types import Estimate, MotionState

STEP_NS = 100_000_000
HALF = (SIZE[0] // 2, SIZE[1] // 2)


def made(**changes: object) -> tuple[KnownModel, Estimator]:
    """A model that says what it is told, and its estimator; the model's metres are taken for exact."""
    model = KnownModel().eval()
    settings = {"precision": "fp32", "input_size": SIZE, "scale": "factor", "standing_gate": False, **changes}
    return model, Estimator(model, EstimatorConfig(**settings), device="cpu")  # type: ignore[arg-type]


def pair(depths: tuple[NDArray[np.float64], NDArray[np.float64]], shift: tuple[float, float, float]) -> Estimate:
    """The second of two frames with these depths; the camera moves by ``shift``, in its own axes, metres.

    The network's unit is half a metre.
    """
    model, estimator = made(motion="network", scale_factor=0.5)
    wall = Wall()
    model.script.depth = 2 * depths[0]
    estimator.step(wall.view(np.eye(4)), CAMERA, 0)
    model.script.depth, model.script.motion = 2 * depths[1], ([0.0, 0.0, 0.0], [-2 * x for x in shift])
    estimate = estimator.step(wall.view(np.eye(4), noise=2.0), CAMERA, STEP_NS)
    np.testing.assert_allclose(estimate.motion.T_previous_current[:3, 3], shift, atol=1e-6)
    return estimate


@pytest.mark.usefixtures("unjudged_motion")
def test_a_wall_that_comes_nearer_by_the_way_driven_is_valid() -> None:
    assert pair((np.full(HALF, 10.0), np.full(HALF, 7.0)), (0.0, 0.0, 3.0)).valid.all()


@pytest.mark.usefixtures("unjudged_motion")
def test_what_does_not_fit_the_motion_is_not_valid() -> None:
    """The wall came nearer, its right half by more than the way driven."""
    later = np.full(HALF, 7.0)
    later[:, HALF[1] // 2 :] = 4.0
    valid = pair((np.full(HALF, 10.0), later), (0.0, 0.0, 3.0)).valid
    assert valid[:, : SIZE[1] // 2 - 4].all() and not valid[:, SIZE[1] // 2 + 4 :].any()


@pytest.mark.usefixtures("unjudged_motion")
def test_the_earlier_depth_is_looked_up_where_the_point_was() -> None:
    """A step in depth moves through the image as the camera goes sideways: it still agrees, beside its edge."""
    earlier, later = np.full(HALF, 10.0), np.full(HALF, 10.0)
    moved = 30  # half-size pixels: 3.24 m to the right at 10 m
    earlier[:, 80:] = later[:, 80 - moved :] = 5.0
    focal = CAMERA.fx / 2
    valid = pair((np.where(earlier > 5, 10.0, 5.0), later), (moved * 5.0 / focal, 0.0, 0.0)).valid
    # Of the near half every point is found again; the far half moves half as far, and its edge shows new ground.
    near = valid[:, 2 * (80 - moved) + 6 : 2 * (160 - moved) - 6]
    assert near.all()


def test_depth_edges_are_not_valid_without_any_motion() -> None:
    model, estimator = made(estimate_motion=False)
    model.script.depth = np.full(HALF, 10.0)
    model.script.depth[:, 60:] = 5.0
    valid = estimator.step(Wall().view(np.eye(4)), CAMERA, 0).valid
    assert not valid[:, 119:121].any()
    assert valid[:, :116].all() and valid[:, 124:].all()


def test_depth_beyond_the_range_is_not_valid_and_stays_finite() -> None:
    model, estimator = made(estimate_motion=False, min_depth=2.0, max_depth=20.0, scale_factor=0.5)
    # Network units; slow enough a slope for no edge. Half of it is metres.
    model.script.depth = np.repeat(np.geomspace(3.0, 60.0, HALF[1])[None], HALF[0], axis=0)
    estimate = estimator.step(Wall().view(np.eye(4)), CAMERA, 0)
    inside = (estimate.depth > 2.0) & (estimate.depth < 20.0)
    near_ends = (np.abs(np.log(estimate.depth / 2.0)) < 0.04) | (np.abs(np.log(estimate.depth / 20.0)) < 0.04)
    np.testing.assert_array_equal(estimate.valid[~near_ends], inside[~near_ends])
    assert np.isfinite(estimate.depth).all() and estimate.depth.max() > 25.0


def test_creeping_is_measured_as_a_whole_when_the_gate_opens() -> None:
    """Every frame turns by 0.04 pixels, which is held still; what opens the gate is the sum, and all of it counts."""
    wall = Wall(normal=(0.0, 0.0, 1.0))
    model, estimator = made(motion="window", standing_gate=True)
    model.script.depth = wall.depth(np.eye(4))
    frames, turn = 36, 0.04 / CAMERA.fx
    total, states = np.eye(4), []
    for index in range(frames + 1):
        T_world_camera = se3.make(se3.rotation_from_vector((0.0, index * turn, 0.0)), np.zeros(3))
        estimate = estimator.step(wall.view(T_world_camera), CAMERA, index * STEP_NS)
        total = total @ estimate.motion.T_previous_current
        states.append(estimate.motion.state)
    assert states.count(MotionState.STANDING) > frames / 2 and MotionState.TRACKED in states
    last = max(index for index, state in enumerate(states) if state is MotionState.TRACKED)
    assert se3.vector_from_rotation(total[:3, :3])[1] == pytest.approx(last * turn, rel=0.2)


def test_the_covariance_promises_what_repeated_measurements_show() -> None:
    """Texture and noise anew each time. A far wall: the shift is known to 5 cm, the turn to half a milliradian."""
    T = se3.make(se3.rotation_from_vector((0.001, 0.004, 0.0)), (0.02, 0.0, 0.05))
    model, estimator = made(motion="window", max_depth=1000.0)
    errors, covariances = [], []
    for trial in range(24):
        estimator.reset()
        wall = Wall(distance=120.0, seed=trial)
        model.script.depth = wall.depth(np.eye(4))
        estimator.step(wall.view(np.eye(4), 15.0, 2 * trial), CAMERA, 0)
        model.script.depth = wall.depth(T)
        motion = estimator.step(wall.view(T, 15.0, 2 * trial + 1), CAMERA, STEP_NS).motion
        off = motion.T_previous_current
        errors.append([*(off[:3, 3] - T[:3, 3]), *se3.vector_from_rotation(off[:3, :3] @ T[:3, :3].T)])
        covariances.append(motion.covariance)
    scatter = np.sqrt(np.mean(np.square(errors), axis=0))
    promised = np.sqrt(np.diagonal(np.mean(covariances, axis=0)))
    squared = [error @ np.linalg.solve(C, error) for error, C in zip(errors, covariances, strict=True)]
    assert scatter[:3].max() > 0.03  # or else the floor of the covariance would be all there is
    assert promised[:3].max() < 4 * scatter[:3].max() and promised[3:].max() < 6 * scatter[3:].max()
    assert np.mean(squared) < 2 * 6  # six degrees of freedom
