"""Converts readings of the robot's twist and gyroscope to messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.recordings.bags.frame_messages import MessageSink
from featdepth_ros.recordings.bags.messages import Messages

#: Topics of the readings.
ODOMETRY_TOPIC, TWIST_TOPIC, IMU_TOPIC = "/wheel/odom", "/wheel/twist", "/imu/data"
#: Frame of the gyroscope.
IMU_FRAME = "imu_link"

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class TwistReading:
    """A velocity measurement of the robot.

    Attributes:
        stamp_ns: middle of the measured interval, nanoseconds.
        linear: (3,) linear velocity in m/s, axes of the base.
        angular: (3,) angular velocity in rad/s, axes of the base.
        pose: (4, 4) pose of the base in its own odometry frame, integrated from the readings. None: the reading is a
            geometry_msgs/TwistStamped instead of a nav_msgs/Odometry.
        deviation: standard deviations of ``linear`` (m/s) and of ``angular`` (rad/s).
    """

    stamp_ns: int
    linear: Vector
    angular: Vector
    pose: Vector | None = None
    deviation: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class GyroscopeReading:
    """A measurement of a gyroscope.

    Attributes:
        stamp_ns: middle of the measured interval, nanoseconds.
        angular: (3,) angular velocity in rad/s, axes of the gyroscope.
        deviation: standard deviation of ``angular``, rad/s.
    """

    stamp_ns: int
    angular: Vector
    deviation: float = 0.0


Reading = TwistReading | GyroscopeReading


class SensorMessages:
    """Writes readings to a bag or a player's queue. A topic is added with its first reading.

    Twists are written to ``/wheel/odom`` (nav_msgs/Odometry) or ``/wheel/twist`` (geometry_msgs/TwistStamped).
    Gyroscope readings are written to ``/imu/data``: sensor_msgs/Imu without orientation and acceleration, whose first
    covariances are -1.
    """

    def __init__(self, sink: MessageSink, base_frame: str = "base_link", odom_frame: str = "wheel_odom") -> None:
        self._sink, self._make = sink, Messages()
        self._base_frame, self._odom_frame = base_frame, odom_frame

    def write(self, reading: Reading) -> None:
        """Write one reading."""
        if isinstance(reading, GyroscopeReading):
            self._put(IMU_TOPIC, reading.stamp_ns, self._imu(reading))
        elif reading.pose is None:
            self._put(TWIST_TOPIC, reading.stamp_ns, self._twist_stamped(reading))
        else:
            self._put(ODOMETRY_TOPIC, reading.stamp_ns, self._odometry(reading, reading.pose))

    def _put(self, topic: str, stamp_ns: int, message: Any) -> None:
        if topic not in self._sink.counts:
            self._sink.add_topic(topic, message.__msgtype__)
        self._sink.write_message(topic, stamp_ns, message)

    def _imu(self, reading: GyroscopeReading) -> Any:
        make, unknown = self._make, np.zeros(9)
        unknown[0] = -1.0
        return make.sensor_msgs__Imu(
            header=make.header(reading.stamp_ns, IMU_FRAME),
            orientation=make.geometry_msgs__Quaternion(x=0.0, y=0.0, z=0.0, w=1.0),
            orientation_covariance=unknown,
            angular_velocity=make.vector(reading.angular),
            angular_velocity_covariance=(np.eye(3) * _variance(reading.deviation)).reshape(-1),
            linear_acceleration=make.vector(np.zeros(3)),
            linear_acceleration_covariance=unknown.copy(),
        )

    def _twist_stamped(self, reading: TwistReading) -> Any:
        make = self._make
        return make.geometry_msgs__TwistStamped(
            header=make.header(reading.stamp_ns, self._base_frame),
            twist=make.geometry_msgs__Twist(linear=make.vector(reading.linear), angular=make.vector(reading.angular)),
        )

    def _odometry(self, reading: TwistReading, pose: Vector) -> Any:
        make = self._make
        header = make.header(reading.stamp_ns, self._odom_frame)
        velocity = np.concatenate([reading.linear, reading.angular])
        message = make.odometry(header, self._base_frame, pose, velocity)
        variances = np.repeat([_variance(deviation) for deviation in reading.deviation], 3)
        message.twist.covariance[:] = np.diag(variances).reshape(-1)
        # The drift of the integrated pose is unknown, so its variances are set to 1 m^2 and 1 rad^2.
        message.pose.covariance[:] = np.eye(6).reshape(-1)
        return message


def _variance(deviation: float) -> float:
    """Return a variance above 0, because filters read 0 as unknown."""
    return max(deviation**2, 1e-9)
