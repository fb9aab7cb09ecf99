"""The pose that a user sets on ``~/set_pose``.

It is a topic, because no service type in a base ROS 2 installation takes just a pose: std_srvs has none, and
nav_msgs/SetMap needs a map. robot_localization has the same topic, and RViz's 2D Pose Estimate sends its type.
"""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.ros.frames.base import GivenPose

#: Smallest variance of a given pose, m^2 and rad^2, because filters take 0 for certainty.
_LEAST_VARIANCE = 1e-9


def given_pose(msg: PoseWithCovarianceStamped, odom_frame: str) -> GivenPose:
    """Return the pose of the base in ``odom_frame``. The stamp is ignored: the pose holds at the next image.

    Raises:
        ValueError: another frame, a zero rotation, values that are not finite, or negative variances.
    """
    frame = msg.header.frame_id.lstrip("/")
    if frame not in ("", odom_frame):
        raise ValueError(f"its frame_id is '{frame}'; expected '{odom_frame}', the frame of the odometry")
    p, q = msg.pose.pose.position, msg.pose.pose.orientation
    T = se3.from_quaternion((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))
    covariance = np.reshape(np.asarray(msg.pose.covariance, dtype=np.float64), (6, 6))
    if not np.isfinite(T).all() or not np.isfinite(covariance).all():
        raise ValueError("its pose or covariance has values that are not finite; expected finite ones")
    if (np.diag(covariance) < 0).any():
        raise ValueError(f"its covariance has the diagonal {np.diag(covariance).tolist()}; expected no negative value")
    return GivenPose(T, (covariance + covariance.T) / 2 + np.eye(6) * _LEAST_VARIANCE)
