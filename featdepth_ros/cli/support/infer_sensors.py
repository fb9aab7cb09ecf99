"""Passes the readings of a recording's motion sensors to the estimator."""

from __future__ import annotations

from featdepth_ros.inference.estimator import Estimator
from featdepth_ros.inference.sensing.gyroscope import Gyroscope
from featdepth_ros.inference.sensing.speedometer import Speedometer
from featdepth_ros.recordings import Recording
from featdepth_ros.recordings.motion_sensors import gyroscope_readings, speed_readings


def add_sensors(estimator: Estimator, recording: Recording, speed_topic: str, imu_topic: str) -> None:
    """Add all readings of the named topics to the estimator's sensors. An empty name adds nothing.

    Raises:
        RecordingError: the recording lacks a topic, or the mounting of the gyroscope.
    """
    if speed_topic:
        twists = speed_readings(recording, speed_topic)
        place = None if twists.T_sensor_camera is None else twists.T_sensor_camera[:3, 3]
        speedometer = Speedometer(place, most=len(twists.messages))
        for message in twists.messages:
            speedometer.add(message.stamp_ns, message.linear, message.angular, message.variance)
        estimator.sensors.speedometer = speedometer
    if imu_topic:
        rates = gyroscope_readings(recording, imu_topic)
        assert rates.T_sensor_camera is not None
        gyroscope = Gyroscope(rates.T_sensor_camera[:3, :3].T, most=len(rates.messages))
        for message in rates.messages:
            gyroscope.add(message.stamp_ns, message.angular, message.variance)
        estimator.sensors.gyroscope = gyroscope
