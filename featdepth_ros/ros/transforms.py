"""Conversion between (4, 4) transforms and geometry_msgs messages."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Pose, Quaternion, TransformStamped
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.ros.images import header_message

Matrix = NDArray[np.float64]


def fill_quaternion(msg: Quaternion, rotation: Matrix) -> None:
    """Write a (3, 3) rotation matrix into a quaternion message."""
    msg.x, msg.y, msg.z, msg.w = (float(v) for v in se3.quaternion_from_matrix(rotation))


def fill_pose(msg: Pose, pose: Matrix) -> None:
    """Write a (4, 4) pose into a pose message."""
    msg.position.x, msg.position.y, msg.position.z = (float(v) for v in pose[:3, 3])
    fill_quaternion(msg.orientation, pose)


def transform_message(T_parent_child: Matrix, stamp: int, parent: str, child: str) -> TransformStamped:
    """Return T_parent_child (4, 4) as a message; ``stamp`` in nanoseconds."""
    msg = TransformStamped(header=header_message(stamp, parent), child_frame_id=child)
    t = msg.transform.translation
    t.x, t.y, t.z = (float(v) for v in T_parent_child[:3, 3])
    fill_quaternion(msg.transform.rotation, T_parent_child)
    return msg


def matrix_from_transform(msg: TransformStamped) -> Matrix:
    """Return T_parent_child (4, 4).

    Raises:
        ValueError: the quaternion is zero, or a value is not finite.
    """
    q, t = msg.transform.rotation, msg.transform.translation
    T = se3.from_quaternion((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
    if not np.isfinite(T).all():
        raise ValueError("its translation is not finite")
    return T
