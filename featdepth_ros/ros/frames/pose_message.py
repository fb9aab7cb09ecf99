"""The pose that a user gives on ``~/set_pose``.

It is a topic, as no service of the packages that every ROS 2 has takes a pose: std_srvs have none, and nav_msgs/SetMap
wants a map. robot_localization hears the same type on its topic of the same name, and RViz's 2D Pose Estimate sends it.
"""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.ros.frames.base import GivenPose

#: Least variance of a given pose, m^2 and rad^2: filters take zeros as certainty.
_LEAST_VARIANCE = 1e-9


def given_pose(msg: PoseWithCovarianceStamped, odom_frame: str) -> GivenPose:
    """Return the pose of the base in ``odom_frame``; the stamp is not looked at, the next image is its moment.

    Raises:
        ValueError: another frame, no rotation, numbers that are not finite, or a covariance that is none.
    """
    frame = msg.header.frame_id.lstrip("/")
    if frame not in ("", odom_frame):
        raise ValueError(f"its frame_id is '{frame}'; expected '{odom_frame}', in which the pose is reported")
    p, q = msg.pose.pose.position, msg.pose.pose.orientation
    T = se3.from_quaternion((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))
    covariance = np.reshape(np.asarray(msg.pose.covariance, dtype=np.float64), (6, 6))
    if not np.isfinite(T).all() or not np.isfinite(covariance).all():
        raise ValueError("it holds numbers that are not finite")
    if (np.diag(covariance) < 0).any():
        raise ValueError(f"its covariance has negative variances: {np.diag(covariance).tolist()}")
    return GivenPose(T, (covariance + covariance.T) / 2 + np.eye(6) * _LEAST_VARIANCE)
