"""Rotations and motions: tensors, numpy, and the reference's pose matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.spatial.transform import Rotation

from featdepth_ros.geometry import se3, se3_numpy

LENGTHS = [0.0, 1e-9, 1e-5, 3e-3, 0.0101, 0.5, 3.0, math.pi - 1e-6]


def vectors(length: float, count: int = 8) -> np.ndarray:
    directions = np.random.default_rng(3).normal(size=(count, 3))
    return length * directions / np.linalg.norm(directions, axis=1, keepdims=True)


@pytest.mark.parametrize("length", LENGTHS)
def test_rotation_vectors_go_to_matrices_and_back(length: float) -> None:
    v = vectors(length)
    expected = Rotation.from_rotvec(v).as_matrix()
    for row, matrix in zip(v, expected, strict=True):
        np.testing.assert_allclose(se3_numpy.rotation_from_vector(row), matrix, atol=1e-13)
        np.testing.assert_allclose(se3_numpy.vector_from_rotation(matrix), row, atol=1e-9)


def test_quaternions_are_xyzw_and_survive_half_turns() -> None:
    rotations = Rotation.concatenate(
        [
            Rotation.random(50, random_state=1),
            Rotation.from_rotvec(math.pi * np.eye(3)),
            Rotation.from_rotvec(math.pi * np.array([[0.6, 0.0, 0.8], [0.0, -0.6, 0.8]])),
        ]
    )
    for matrix in rotations.as_matrix():
        quaternion = se3_numpy.quaternion_from_matrix(matrix)
        np.testing.assert_allclose(Rotation.from_quat(quaternion).as_matrix(), matrix, atol=1e-12)
        np.testing.assert_allclose(se3_numpy.matrix_from_quaternion(3.7 * quaternion), matrix, atol=1e-12)
    with pytest.raises(ValueError, match="not all zero"):
        se3_numpy.matrix_from_quaternion([0, 0, 0, 0])


@pytest.mark.parametrize("length", LENGTHS[:-1])
def test_twists_go_to_motions_and_back(length: float) -> None:
    twists = np.concatenate([np.random.default_rng(5).normal(size=(8, 3)), vectors(length)], axis=1)
    for twist in twists:
        motion = se3_numpy.exp(twist)
        np.testing.assert_allclose(motion, scipy.linalg.expm(hat4(twist)), atol=1e-9)
        np.testing.assert_allclose(se3_numpy.log(motion), twist, atol=1e-9)
        np.testing.assert_allclose(motion @ se3_numpy.inverse(motion), np.eye(4), atol=1e-12)


def hat4(twist: np.ndarray) -> np.ndarray:
    """The matrix (4, 4) whose exponential is the motion of a twist."""
    matrix = np.zeros((4, 4))
    matrix[:3, :3], matrix[:3, 3] = se3_numpy.hat(twist[se3_numpy.ROTATION]), twist[se3_numpy.TRANSLATION]
    return matrix


def test_the_adjoint_takes_a_twist_to_other_axes() -> None:
    T, twist = se3_numpy.exp([1.0, -2.0, 0.5, 0.4, -0.2, 0.9]), np.array([0.3, 0.1, -0.4, 0.2, -0.5, 0.1])
    expected = T @ se3_numpy.exp(twist) @ se3_numpy.inverse(T)
    np.testing.assert_allclose(se3_numpy.exp(se3_numpy.adjoint(T) @ twist), expected, atol=1e-12)


def test_a_twist_has_translation_first() -> None:
    np.testing.assert_array_equal(se3_numpy.twist_from([1, 2, 3], [4, 5, 6]), [1, 2, 3, 4, 5, 6])


def test_pose_matrix_has_finite_gradients_at_zero() -> None:
    zero = torch.zeros(2, 3, requires_grad=True)
    se3.pose_matrix(zero, torch.zeros(2, 3)).sum().backward()
    assert zero.grad is not None and torch.isfinite(zero.grad).all()


def test_interpolation_is_on_the_arc_and_the_line() -> None:
    first = se3_numpy.exp([0.0, 0.0, 0.0, 0.1, 0.2, -0.1])
    second = se3_numpy.make(first[:3, :3] @ se3_numpy.rotation_from_vector([0, 0, 1.0]), [4.0, 0.0, 2.0])
    quarter = se3_numpy.interpolate(first, second, 0.25)
    expected = se3_numpy.make(first[:3, :3] @ se3_numpy.rotation_from_vector([0, 0, 0.25]), [1.0, 0.0, 0.5])
    np.testing.assert_allclose(quarter, expected, atol=1e-12)


def test_orthonormalised_removes_rounding_of_long_products() -> None:
    drifted = se3_numpy.exp([1, 2, 3, 0.3, 0.2, 0.1])
    drifted[:3, :3] *= 1.001
    clean = se3_numpy.orthonormalised(drifted)
    np.testing.assert_allclose(clean[:3, :3] @ clean[:3, :3].T, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(clean, se3_numpy.exp([1, 2, 3, 0.3, 0.2, 0.1]), atol=1e-12)


def test_pose_matrix_is_the_references() -> None:
    v = torch.tensor(vectors(0.3, 4)).float()
    t = torch.randn(4, 3, generator=torch.Generator().manual_seed(2))
    forward, backward = se3.pose_matrix(v, t), se3.pose_matrix(v, t, invert=True)
    np.testing.assert_allclose(forward[:, :3, :3].numpy(), Rotation.from_rotvec(v.numpy()).as_matrix(), atol=1e-6)
    np.testing.assert_allclose((forward @ backward).numpy(), np.tile(np.eye(4), (4, 1, 1)), atol=1e-6)
    np.testing.assert_array_equal(forward[:, :3, 3].numpy(), t.numpy())
    # the axis is v / (|v| + 1e-7): a rotation of 1e-7 rad comes out half as large
    tiny = se3.pose_matrix(torch.tensor([[1e-7, 0.0, 0.0]], dtype=torch.float64), torch.zeros(1, 3))
    assert float(tiny[0, 2, 1]) == pytest.approx(0.5e-7, rel=1e-6)
    assert se3.pose_matrix(v.bfloat16(), t.bfloat16()).dtype == torch.float32


def test_a_refocused_motion_moves_the_pixels_alike() -> None:
    """Flow of one camera, and of another of half its focal length with the converted motion, in the same depth."""
    axisangle, translation = torch.tensor([[0.002, -0.003, 0.004]]), torch.tensor([[0.02, -0.01, 0.05]])
    turned, shifted = se3.refocused_motion(axisangle, translation, torch.tensor([0.5]))

    def flow(focal: float, w: torch.Tensor, t: torch.Tensor) -> np.ndarray:
        offsets = np.array([[-40.0, 20.0], [30.0, -15.0], [5.0, 25.0]])  # pixels from the principal point
        points = np.concatenate([offsets / focal, np.ones((3, 1))], 1) * 7.0
        moved = points + np.cross(w[0].numpy(), points) + t[0].numpy()
        return moved[:, :2] / moved[:, 2:] * focal - offsets

    expected = flow(400.0, axisangle, translation)
    np.testing.assert_allclose(flow(200.0, turned, shifted), expected, atol=0.03 * np.abs(expected).max())
