"""The sensors beside the camera that help to estimate its motion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from featdepth_ros.errors import ConfigError
from featdepth_ros.inference.options import ScaleChoice
from featdepth_ros.inference.sensing.gyroscope import Gyroscope
from featdepth_ros.inference.sensing.speedometer import Speedometer


@dataclass
class MotionSensors:
    """Sensors beside the camera. Their owner adds readings before the frames they belong to.

    Attributes:
        speedometer: speed of the robot; None: there is none.
        gyroscope: angular velocity; None: there is none.
    """

    speedometer: Speedometer | None = None
    gyroscope: Gyroscope | None = None


def scale_with_sensors(scale: str, speed_topic: str) -> ScaleChoice:
    """Return the effective scale option: ``auto`` becomes ``speed`` when ``speed_topic`` is set.

    Raises:
        ConfigError: ``scale`` is ``speed`` and ``speed_topic`` is empty.
    """
    if scale == "speed" and not speed_topic:
        raise ConfigError("scale is 'speed' and speed_topic is empty; name the topic of the robot's twist")
    return cast(ScaleChoice, "speed" if scale == "auto" and speed_topic else scale)
