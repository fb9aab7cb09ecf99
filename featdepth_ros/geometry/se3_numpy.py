"""Rigid motions in numpy float64, for ROS messages and odometry. Quaternions are xyzw. For tensors see `se3`.

This module defines the order of six numbers in a twist, and in the rows and columns of a covariance. Translation comes
first, then rotation, as in nav_msgs/Odometry. `TRANSLATION` and `ROTATION` are the slices of the two halves.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

#: The two halves of a twist (6,), and of the rows and columns of its covariance (6, 6).
TRANSLATION, ROTATION = slice(0, 3), slice(3, 6)

#: Pose of optical axes (x right, y down, z forward) in body axes (x forward, y left, z up); REP-103.
T_BODY_OPTICAL: Array = np.array(
    [[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
T_BODY_OPTICAL.setflags(write=False)


def hat(vector: ArrayLike) -> Array:
    """Return the cross-product matrix (3, 3) of a vector (3,)."""
    x, y, z = np.asarray(vector, dtype=np.float64)
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def rotation_from_vector(vector: ArrayLike) -> Array:
    """Return the rotation matrix (3, 3) of a rotation vector (3,), radians."""
    vector = np.asarray(vector, dtype=np.float64)
    angle = float(np.linalg.norm(vector))
    skew = hat(vector)
    if angle < 1e-6:
        return np.asarray(np.eye(3) + skew + 0.5 * skew @ skew)
    return np.asarray(np.eye(3) + math.sin(angle) / angle * skew + (1 - math.cos(angle)) / angle**2 * (skew @ skew))


def vector_from_rotation(matrix: ArrayLike) -> Array:
    """Return the rotation vector (3,), radians, of a rotation matrix (3, 3).

    Its length is at most pi. The computation is stable at 0 and at pi.
    """
    quaternion = quaternion_from_matrix(matrix)
    imaginary, real = quaternion[:3], float(quaternion[3])
    length = float(np.linalg.norm(imaginary))
    if length < 1e-9:
        return np.asarray(2.0 / real * imaginary)
    return np.asarray(2.0 * math.atan2(length, real) / length * imaginary)


def quaternion_from_matrix(matrix: ArrayLike) -> Array:
    """Return the unit quaternion (4,), xyzw, w >= 0, of a rotation (3, 3) or of a motion (4, 4)."""
    m = np.asarray(matrix, dtype=np.float64)[:3, :3]
    trace = float(np.trace(m))
    # four times the products q_i q_j; the row with the largest square is numerically best
    products = np.array(
        [
            [1 + 2 * m[0, 0] - trace, m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[2, 1] - m[1, 2]],
            [m[0, 1] + m[1, 0], 1 + 2 * m[1, 1] - trace, m[1, 2] + m[2, 1], m[0, 2] - m[2, 0]],
            [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], 1 + 2 * m[2, 2] - trace, m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], 1 + trace],
        ]
    )
    row = products[int(np.argmax(np.diag(products)))]
    quaternion = row / np.linalg.norm(row)
    return np.asarray(-quaternion if quaternion[3] < 0 else quaternion)


def matrix_from_quaternion(xyzw: ArrayLike) -> Array:
    """Return rotation matrices (..., 3, 3) of quaternions (..., 4), xyzw, of any non-zero length.

    Raises:
        ValueError: a quaternion is zero or not finite.
    """
    quaternions = np.asarray(xyzw, dtype=np.float64)
    lengths = np.linalg.norm(quaternions, axis=-1, keepdims=True)
    wrong = ~(np.isfinite(lengths[..., 0]) & (lengths[..., 0] >= 1e-12))
    if wrong.any():
        first = quaternions[wrong][0].tolist()
        raise ValueError(f"quaternion (xyzw) is {first}; expected four finite numbers, not all zero")
    x, y, z, w = np.moveaxis(quaternions / lengths, -1, 0)
    rows = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    return np.moveaxis(rows, (0, 1), (-2, -1))


def make(rotation: ArrayLike, translation: ArrayLike) -> Array:
    """Return the motion (4, 4) of a rotation (3, 3) and a translation (3,)."""
    motion = np.eye(4)
    motion[:3, :3] = rotation
    motion[:3, 3] = translation
    return motion


def from_quaternion(translation: ArrayLike, xyzw: ArrayLike) -> Array:
    """Return the motion (4, 4) of a translation (3,) and a quaternion xyzw (4,)."""
    return make(matrix_from_quaternion(xyzw), translation)


def to_quaternion(motion: ArrayLike) -> tuple[Array, Array]:
    """Return translation (3,) and quaternion xyzw (4,) of a motion (4, 4)."""
    motion = np.asarray(motion, dtype=np.float64)
    return motion[:3, 3].copy(), quaternion_from_matrix(motion)


def inverse(motion: ArrayLike) -> Array:
    """Return the inverse of a rigid motion (4, 4)."""
    motion = np.asarray(motion, dtype=np.float64)
    rotation = motion[:3, :3].T
    return make(rotation, -rotation @ motion[:3, 3])


def stretched(motion: ArrayLike, factor: float) -> Array:
    """Return a (4, 4) motion whose translation is ``factor`` times as long."""
    longer = np.array(motion, dtype=np.float64)
    longer[:3, 3] *= factor
    return longer


def orthonormalised(motion: ArrayLike) -> Array:
    """Return the rigid motion nearest to a (4, 4), to remove rounding errors of long products."""
    motion = np.asarray(motion, dtype=np.float64)
    u, _, vt = np.linalg.svd(motion[:3, :3])
    rotation = u @ np.diag([1.0, 1.0, float(np.linalg.det(u @ vt))]) @ vt
    return make(rotation, motion[:3, 3])


def _left_jacobian(phi: Array) -> Array:
    angle = float(np.linalg.norm(phi))
    skew = hat(phi)
    if angle < 1e-3:
        b, c = 0.5 - angle**2 / 24, 1 / 6 - angle**2 / 120
    else:
        b, c = (1 - math.cos(angle)) / angle**2, (angle - math.sin(angle)) / angle**3
    return np.asarray(np.eye(3) + b * skew + c * (skew @ skew))


def exp(twist: ArrayLike) -> Array:
    """Return the motion (4, 4) of a twist (6,) (exponential map of SE(3))."""
    twist = np.asarray(twist, dtype=np.float64)
    phi = twist[ROTATION]
    return make(rotation_from_vector(phi), _left_jacobian(phi) @ twist[TRANSLATION])


def log(motion: ArrayLike) -> Array:
    """Return the twist (6,) of a motion (4, 4); the inverse of `exp` for rotations below pi."""
    motion = np.asarray(motion, dtype=np.float64)
    phi = vector_from_rotation(motion[:3, :3])
    return twist_from(np.linalg.solve(_left_jacobian(phi), motion[:3, 3]), phi)


def twist_from(translation: ArrayLike, rotation: ArrayLike) -> Array:
    """Return a twist (6,), or the diagonal of its covariance, from its halves (3,)."""
    twist = np.empty(6)
    twist[TRANSLATION], twist[ROTATION] = translation, rotation
    return twist


def adjoint(motion: ArrayLike) -> Array:
    """Return the adjoint (6, 6) of T_target_source (4, 4), which converts a twist from source axes to target axes.

    A rotation of the source also moves the target, because of the lever arm between them.
    """
    motion = np.asarray(motion, dtype=np.float64)
    rotation = motion[:3, :3]
    matrix = np.zeros((6, 6))
    matrix[TRANSLATION, TRANSLATION] = matrix[ROTATION, ROTATION] = rotation
    matrix[TRANSLATION, ROTATION] = hat(motion[:3, 3]) @ rotation
    return matrix


def interpolate(first: ArrayLike, second: ArrayLike, fraction: float) -> Array:
    """Interpolate between two motions (4, 4): rotation along the arc, translation on the straight line.

    Args:
        first: the motion at ``fraction`` 0.
        second: the motion at ``fraction`` 1.
        fraction: position between the two.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    turn = vector_from_rotation(first[:3, :3].T @ second[:3, :3])
    rotation = first[:3, :3] @ rotation_from_vector(fraction * turn)
    return make(rotation, (1 - fraction) * first[:3, 3] + fraction * second[:3, 3])
