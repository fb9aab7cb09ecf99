"""Reads twists and gyroscope rates from messages, for the classes of rclpy and of rosbags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featdepth_ros.messages.stamps import header_stamp_ns

Floats = NDArray[np.float64]

ODOMETRY, TWIST_STAMPED = "nav_msgs/msg/Odometry", "geometry_msgs/msg/TwistStamped"
TWIST_WITH_COVARIANCE_STAMPED, IMU = "geometry_msgs/msg/TwistWithCovarianceStamped", "sensor_msgs/msg/Imu"
#: Message types with a robot's speed.
TWIST_TYPES = (ODOMETRY, TWIST_STAMPED, TWIST_WITH_COVARIANCE_STAMPED)


@dataclass(frozen=True)
class SensorMessage:
    """Content of one message of a motion sensor.

    Attributes:
        stamp_ns: stamp of its header, nanoseconds.
        frame: name of the frame in whose axes the velocities are.
        linear: (3,) m/s; zeros for a gyroscope.
        angular: (3,) rad/s.
        variance: mean variance of the components of ``linear`` for a twist, (m/s)^2, or of ``angular`` for a gyroscope,
            (rad/s)^2; 0: unknown.
    """

    stamp_ns: int
    frame: str
    linear: Floats
    angular: Floats
    variance: float


def twist_of(message: Any) -> SensorMessage:
    """Read an Odometry, TwistStamped or TwistWithCovarianceStamped message."""
    twist, variance = message.twist, 0.0
    if hasattr(twist, "twist"):
        variance = _mean_variance(twist.covariance, 6)
        twist = twist.twist
    frame = getattr(message, "child_frame_id", "") or message.header.frame_id
    return SensorMessage(
        header_stamp_ns(message), str(frame).strip("/"), _vector(twist.linear), _vector(twist.angular), variance
    )


def rate_of(message: Any) -> SensorMessage:
    """Read the angular velocity of an Imu message."""
    return SensorMessage(
        header_stamp_ns(message), str(message.header.frame_id).strip("/"), np.zeros(3),
        _vector(message.angular_velocity), _mean_variance(message.angular_velocity_covariance, 3),
    )  # fmt: skip


def _vector(values: Any) -> Floats:
    return np.array([values.x, values.y, values.z], dtype=np.float64)


def _mean_variance(covariance: ArrayLike, size: int) -> float:
    """Return the mean of the first three variances; 0 if the message marks them as unknown by zeros or -1."""
    variances = np.diag(np.asarray(covariance, dtype=np.float64).reshape(size, size))[:3]
    return float(variances.mean()) if np.isfinite(variances).all() and variances.min() > 0 else 0.0
