"""Reads the motion sensors of a recording: the robot's twist, and a gyroscope."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import RecordingError, nearest_name
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.messages.motion_sensors import IMU, TWIST_TYPES, SensorMessage, rate_of, twist_of
from featdepth_ros.recordings.recording import Recording

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SensorReadings:
    """All readings of one sensor.

    Attributes:
        messages: readings in order of their stamps.
        T_sensor_camera: (4, 4) pose of the camera in the sensor's frame; None if the recording does not contain it.
    """

    messages: list[SensorMessage]
    T_sensor_camera: Floats | None


def speed_readings(recording: Recording, topic: str) -> SensorReadings:
    """Return the twists of a topic of a bag. If the mounting of the camera is unknown, `notes` say so.

    Raises:
        RecordingError: the recording is no bag, or the topic does not exist or has no twists.
    """
    readings = _of_bag(
        recording, topic, TWIST_TYPES, twist_of, "twists (nav_msgs/Odometry, geometry_msgs/TwistStamped)"
    )
    if readings.T_sensor_camera is None:
        recording.note(
            f"no transform on /tf_static links '{readings.messages[0].frame}' of {topic} with the camera; the camera's "
            "speed in turns is taken as the robot's"
        )
    return readings


def gyroscope_readings(recording: Recording, topic: str) -> SensorReadings:
    """Return the angular velocities of a topic of a bag, or of the folder of an EuRoC recording (``imu0``).

    Raises:
        RecordingError: there are none, or the mounting of the gyroscope relative to the camera is unknown.
    """
    folder: Path | None = getattr(recording, "folder", None)
    if recording.kind == "euroc" and folder is not None:
        return _of_euroc(folder, topic.strip("/"))
    readings = _of_bag(recording, topic, (IMU,), rate_of, "gyroscope readings (sensor_msgs/Imu)")
    if readings.T_sensor_camera is None:
        raise RecordingError(
            f"no transform on /tf_static links '{readings.messages[0].frame}' of {topic} with the camera; a gyroscope "
            "whose mounting is not known cannot help: leave it out, or record /tf_static"
        )
    return readings


def _of_bag(
    recording: Recording, topic: str, types: tuple[str, ...], read: Callable[[Any], SensorMessage], what: str
) -> SensorReadings:
    from featdepth_ros.recordings.bags.recording import BagRecording
    from featdepth_ros.recordings.bags.transforms import decoded, static_transform

    if not isinstance(recording, BagRecording):
        raise RecordingError(f"'{recording.name}' ({recording.kind}) has no topic {topic}, because it is not a bag")
    source = recording.source
    fitting = {t.name: t.msgtype for t in source.topics.values() if t.msgtype in types and t.convertible and t.count}
    name = topic if topic in fitting else f"/{topic}"
    if name not in fitting:
        hint = nearest_name(topic, fitting) if fitting else ""
        listing = ", ".join(f"{n} ({msgtype})" for n, msgtype in fitting.items()) or "none"
        raise RecordingError(f"'{source.path}' has no {what} on {topic}{hint}; topics with some: {listing}")
    if not recording.has_stamps:
        raise RecordingError(f"the images on {recording.topic} have no stamps, so {topic} cannot be matched with them")
    messages = sorted((read(message) for message in decoded(source, name)), key=lambda message: message.stamp_ns)
    if not messages:
        raise RecordingError(f"no message on {name} of '{source.path}' can be read")
    return SensorReadings(messages, static_transform(source, messages[0].frame, recording.frame_id))


def _of_euroc(folder: Path, name: str) -> SensorReadings:
    from featdepth_ros.recordings.datasets import tables
    from featdepth_ros.recordings.datasets.euroc import sensor_extrinsics

    sensor = folder.parent / name
    names = sorted(path.parent.name for path in folder.parent.glob("imu*/data.csv"))
    if name not in names:
        raise RecordingError(f"'{folder.parent}' has no gyroscope '{name}'; it has: {', '.join(names) or 'none'}")
    messages: list[SensorMessage] = []
    for line, fields in tables.rows(sensor / "data.csv", ","):
        if not messages and fields[0][:1].isalpha():
            continue  # a heading without '#'
        try:
            rate = np.array([float(field) for field in fields[1:4]])
            if not fields[0].isdecimal() or rate.shape != (3,):
                raise ValueError("too few numbers")
        except ValueError as error:
            raise RecordingError(
                f"{sensor / 'data.csv'}, line {line}: expected 'stamp_ns, three angular velocities, ...' ({error})"
            ) from error
        messages.append(SensorMessage(int(fields[0]), name, np.zeros(3), rate, 0.0))
    for path in (sensor / "sensor.yaml", folder / "sensor.yaml"):
        if not path.is_file():
            raise RecordingError(f"{path} does not exist, so the gyroscope's mounting (T_BS) is unknown")
    T_sensor_camera = se3.inverse(sensor_extrinsics(sensor / "sensor.yaml")) @ sensor_extrinsics(folder / "sensor.yaml")
    return SensorReadings(sorted(messages, key=lambda message: message.stamp_ns), T_sensor_camera)
