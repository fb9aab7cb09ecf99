"""The sensors that help one camera's motion, as the estimator is given them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from featdepth_ros.errors import ConfigError
from featdepth_ros.inference.options import ScaleChoice
from featdepth_ros.inference.sensing.gyroscope import Gyroscope
from featdepth_ros.inference.sensing.speedometer import Speedometer


@dataclass
class MotionSensors:
    """Sensors beside the camera; whoever reads them adds readings before the frames they belong to.

    Attributes:
        speedometer: None: there is none.
        gyroscope: None: there is none.
    """

    speedometer: Speedometer | None = None
    gyroscope: Gyroscope | None = None


def scale_with_sensors(scale: str, speed_topic: str) -> ScaleChoice:
    """Return the source of scale that is meant: ``auto`` takes the speed where a topic of it is named.

    Raises:
        ConfigError: the speed is to give the scale, and no topic of it is named.
    """
    if scale == "speed" and not speed_topic:
        raise ConfigError("scale is 'speed' and speed_topic is empty; name the topic of the robot's twist")
    return cast(ScaleChoice, "speed" if scale == "auto" and speed_topic else scale)
