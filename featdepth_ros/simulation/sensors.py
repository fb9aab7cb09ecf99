"""Other sensors of a simulated robot: readings of its twist and of a gyroscope while the camera moves."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from featdepth_ros.errors import ConfigError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.recordings.bags.sensor_messages import IMU_FRAME, GyroscopeReading, Reading, TwistReading
from featdepth_ros.simulation.render.scene import Vector, turn
from featdepth_ros.simulation.simulate import NANOSECONDS, Simulation


@dataclass(frozen=True)
class TwistStyle:
    """Model of a robot's twist sensor.

    Attributes:
        rate_hz: readings per second.
        message: ``odometry`` (nav_msgs/Odometry, whose pose is the sum of the readings) or ``stamped``
            (geometry_msgs/TwistStamped).
        noise_mps: standard deviation of each linear component, m/s.
        noise_radps: standard deviation of each angular component, rad/s.
        scale: factor on the linear velocity, as from a wrong wheel radius.
    """

    rate_hz: float = 50.0
    message: Literal["odometry", "stamped"] = "odometry"
    noise_mps: float = 0.0
    noise_radps: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class GyroscopeStyle:
    """Model of a gyroscope.

    Attributes:
        rate_hz: readings per second.
        noise_radps: standard deviation of each component of a reading, rad/s.
        bias_radps: constant error of each component, rad/s.
        mounting_rad: yaw, pitch and roll of its axes relative to the base.
    """

    rate_hz: float = 200.0
    noise_radps: float = 0.0
    bias_radps: tuple[float, float, float] = (0.0, 0.0, 0.0)
    mounting_rad: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def mounts(self) -> dict[str, Vector]:
        """Return the gyroscope's frame and its (4, 4) pose on the base."""
        return {IMU_FRAME: se3.make(turn(*self.mounting_rad), np.zeros(3))}


def twists(simulation: Simulation, style: TwistStyle) -> Iterator[TwistReading]:
    """Iterate over the robot's twists, from the first frame to the last one.

    A reading is the mean over one period around its stamp, so that readings add up to the true motion.

    Raises:
        ConfigError: the recording has a cut, or the rate is out of range.
    """
    poses, stamps_ns, period_s = _base_poses(simulation, style.rate_hz)
    rng, summed = np.random.default_rng([simulation.config.seed, 91]), np.eye(4)
    for before, after, stamp_ns in zip(poses, poses[1:], stamps_ns, strict=False):
        twist = se3.log(se3.inverse(before) @ after) / period_s
        twist[:3] = style.scale * twist[:3] + style.noise_mps * rng.standard_normal(3)
        twist[3:] += style.noise_radps * rng.standard_normal(3)
        pose = summed @ se3.exp(0.5 * period_s * twist) if style.message == "odometry" else None
        yield TwistReading(stamp_ns, twist[:3], twist[3:], pose, (style.noise_mps, style.noise_radps))
        summed = summed @ se3.exp(period_s * twist)


def gyroscope(simulation: Simulation, style: GyroscopeStyle) -> Iterator[GyroscopeReading]:
    """Iterate over a gyroscope's readings, from the first frame to the last one.

    A reading is the mean over one period around its stamp, so that readings add up to the true rotation.

    Raises:
        ConfigError: the recording has a cut, or the rate is out of range.
    """
    poses, stamps_ns, period_s = _base_poses(simulation, style.rate_hz)
    rng, to_sensor = np.random.default_rng([simulation.config.seed, 92]), turn(*style.mounting_rad).T
    bias = np.array(style.bias_radps)
    for before, after, stamp_ns in zip(poses, poses[1:], stamps_ns, strict=False):
        rate = se3.vector_from_rotation(before[:3, :3].T @ after[:3, :3]) / period_s
        noise = style.noise_radps * rng.standard_normal(3)
        yield GyroscopeReading(stamp_ns, to_sensor @ rate + bias + noise, style.noise_radps)


def readings(simulation: Simulation, twist: TwistStyle | None, gyro: GyroscopeStyle | None) -> Iterator[Reading]:
    """Iterate over the readings of all sensors in order of their stamps; None omits a sensor."""
    sensors: list[Iterator[Reading]] = []
    if twist is not None:
        sensors.append(twists(simulation, twist))
    if gyro is not None:
        sensors.append(gyroscope(simulation, gyro))
    return heapq.merge(*sensors, key=lambda reading: reading.stamp_ns)


def _base_poses(simulation: Simulation, rate_hz: float) -> tuple[list[Vector], list[int], float]:
    """Return the base's poses half a period before and after each reading, the readings' stamps, and the period (s)."""
    if simulation.config.faults.cut is not None:
        raise ConfigError(
            "a recording with a cut cannot have other sensors, because they would measure the jump; remove the cut or "
            "the sensors"
        )
    if not 1.0 <= rate_hz <= 1000.0:
        raise ConfigError(f"a sensor has {rate_hz} readings per second; expected between 1 and 1000")
    count = int(np.floor(float(simulation.seconds[-1]) * rate_hz + 1e-6)) + 1
    seconds = (np.arange(count + 1, dtype=np.float64) - 0.5) / np.float64(rate_hz)
    T_camera_base = se3.inverse(simulation.T_base_camera)
    start_ns = simulation.config.start_ns
    stamps_ns = [start_ns + round(i * NANOSECONDS / rate_hz) for i in range(count)]
    return [pose @ T_camera_base for pose in simulation.path.poses(seconds)], stamps_ns, 1.0 / rate_hz
