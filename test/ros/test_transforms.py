from __future__ import annotations

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from scipy.spatial.transform import Rotation

from featdepth_ros.ros.transforms import matrix_from_transform, transform_message


def rotations() -> list[np.ndarray]:
    axes = np.vstack([np.eye(3), -np.eye(3), np.random.default_rng(1).normal(size=(40, 3))])
    angles = [0.0, 1e-9, 1e-4, 1.0, np.pi / 2, np.pi - 1e-7, np.pi]
    return [Rotation.from_rotvec(a / np.linalg.norm(a) * t).as_matrix() for a in axes for t in angles]


def message_of(rotation: np.ndarray) -> list[float]:
    """Return the rotation as it stands in a message, in field order."""
    q = transform_message(
        np.block([[rotation, np.zeros((3, 1))], [np.zeros((1, 3)), 1]]), 0, "a", "b"
    ).transform.rotation
    return [q.x, q.y, q.z, q.w]


def test_quaternions_of_messages_are_xyzw_and_agree_with_scipy() -> None:
    for rotation in rotations():
        q = np.array(message_of(rotation))
        assert np.linalg.norm(q) == pytest.approx(1.0, abs=1e-12)
        expected = Rotation.from_matrix(rotation).as_quat()
        assert min(np.abs(q - expected).max(), np.abs(q + expected).max()) < 1e-7


def test_agrees_with_tf_transformations() -> None:
    reference = pytest.importorskip("tf_transformations")
    for rotation in rotations():
        T = np.eye(4)
        T[:3, :3] = rotation
        q = np.array(message_of(rotation))
        expected = reference.quaternion_from_matrix(T)
        assert min(np.abs(q - expected).max(), np.abs(q + expected).max()) < 1e-7
        np.testing.assert_allclose(reference.quaternion_matrix(q), T, atol=1e-7)


def pose(x: float, degrees: float = 0.0) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler("z", degrees, True).as_matrix()
    T[0, 3] = x
    return T


def test_transform_message_round_trip() -> None:
    msg = transform_message(pose(2.0, 30.0), 5, "parent", "child")
    assert (msg.header.frame_id, msg.child_frame_id, msg.header.stamp.nanosec) == ("parent", "child", 5)
    np.testing.assert_allclose(matrix_from_transform(msg), pose(2.0, 30.0), atol=1e-12)


def test_malformed_transforms_are_refused() -> None:
    empty = TransformStamped()
    empty.transform.rotation.w = 0.0
    with pytest.raises(ValueError, match="quaternion"):
        matrix_from_transform(empty)
    msg = transform_message(np.eye(4), 0, "a", "b")
    msg.transform.translation.x = float("inf")
    with pytest.raises(ValueError, match="not finite"):
        matrix_from_transform(msg)
