"""Rigid transforms as messages and files hold them: translations and xyzw quaternions. float64, numpy only."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import RecordingError

#: REP-103: a body frame (x forward, y left, z up) from an optical frame (x right, y down, z forward).
R_BODY_OPTICAL: NDArray[np.float64] = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
R_BODY_OPTICAL.setflags(write=False)


def transform(rotation: NDArray[np.float64], translation: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the 4x4 transform of a 3x3 rotation and a translation."""
    result = np.eye(4)
    result[:3, :3] = rotation
    result[:3, 3] = translation
    return result


def inverse(transform_4x4: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inverse of a rigid 4x4 transform."""
    rotation = transform_4x4[:3, :3].T
    return transform(rotation, -rotation @ transform_4x4[:3, 3])


def quaternion_xyzw(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unit quaternion (x, y, z, w), w at least 0, of a 3x3 rotation, by its largest component."""
    m = rotation
    squares = np.array(
        [
            1.0 + m[0, 0] - m[1, 1] - m[2, 2],
            1.0 - m[0, 0] + m[1, 1] - m[2, 2],
            1.0 - m[0, 0] - m[1, 1] + m[2, 2],
            1.0 + m[0, 0] + m[1, 1] + m[2, 2],
        ]
    )
    largest = int(np.argmax(squares))
    rows = (
        (squares[0], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[2, 1] - m[1, 2]),
        (m[0, 1] + m[1, 0], squares[1], m[1, 2] + m[2, 1], m[0, 2] - m[2, 0]),
        (m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], squares[2], m[1, 0] - m[0, 1]),
        (m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], squares[3]),
    )
    q = np.array(rows[largest], dtype=np.float64)
    q /= np.linalg.norm(q)
    return -q if q[3] < 0.0 else q


def rotation_from_quaternion(x: float, y: float, z: float, w: float) -> NDArray[np.float64]:
    """Return the 3x3 rotation of a quaternion of any length above 0.

    Raises:
        RecordingError: the quaternion is zero or not finite.
    """
    norm = float(np.sqrt(x * x + y * y + z * z + w * w))
    if not np.isfinite(norm) or norm < 1e-9:
        raise RecordingError(f"({x}, {y}, {z}, {w}) is no quaternion of a rotation")
    x, y, z, w = x / norm, y / norm, z / norm, w / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def rotation_vector(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return axis times angle (rad) of a 3x3 rotation."""
    q = quaternion_xyzw(rotation)
    sine = float(np.linalg.norm(q[:3]))
    if sine < 1e-12:
        return np.zeros(3)
    return np.asarray(q[:3] / sine * (2.0 * np.arctan2(sine, q[3])), dtype=np.float64)


def interpolate(
    stamps_ns: Sequence[int], poses: Sequence[NDArray[np.float64]], at_ns: int, most_ns: int
) -> NDArray[np.float64] | None:
    """Return the pose at a stamp between two known ones, or None outside them or where they lie too far apart.

    Args:
        stamps_ns: in ascending order, nanoseconds.
        poses: (4, 4) each; positions are interpolated linearly, rotations along the shortest arc.
        at_ns: the stamp asked for.
        most_ns: the longest gap between two known poses that is still bridged.
    """
    after = bisect_left(stamps_ns, at_ns)
    if after < len(stamps_ns) and stamps_ns[after] == at_ns:
        return poses[after]
    if after == 0 or after == len(stamps_ns) or stamps_ns[after] - stamps_ns[after - 1] > most_ns:
        return None
    earlier, later = poses[after - 1], poses[after]
    share = (at_ns - stamps_ns[after - 1]) / (stamps_ns[after] - stamps_ns[after - 1])
    turn = rotation_vector(earlier[:3, :3].T @ later[:3, :3]) * share
    angle = float(np.linalg.norm(turn))
    axis = turn / angle if angle > 0.0 else turn
    half = np.sin(angle / 2.0) * axis
    step = rotation_from_quaternion(half[0], half[1], half[2], float(np.cos(angle / 2.0)))
    return transform(earlier[:3, :3] @ step, (1.0 - share) * earlier[:3, 3] + share * later[:3, 3])
