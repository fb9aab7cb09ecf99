"""Readings between two stamps: speed with its lever arm, rotation with its bias, and what is missing."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from featdepth_ros.errors import ConfigError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.sensing.gyroscope import BIAS_RADPS, Gyroscope
from featdepth_ros.inference.sensing.readings import Readings
from featdepth_ros.inference.sensing.sensors import scale_with_sensors
from featdepth_ros.inference.sensing.speedometer import UNNAMED_MPS, Speedometer

MS = 1_000_000
ZERO = np.zeros(3)


def ramp(step_ms: int = 10, count: int = 21) -> Readings:
    """A value that is the stamp in seconds."""
    readings = Readings(1, 0.05)
    for index in range(count):
        readings.add(index * step_ms * MS, np.array([index * step_ms * 1e-3]), 1.0)
    return readings


def test_a_stretch_is_interpolated_at_its_ends() -> None:
    stretch = ramp().between(33 * MS, 87 * MS)
    assert stretch is not None and stretch.held_s == 0.0
    np.testing.assert_allclose(stretch.values[:, 0], stretch.seconds + 0.033, atol=1e-12)
    assert stretch.mean()[0] == pytest.approx(0.060)


def test_the_newest_reading_is_held_for_a_while_and_no_longer() -> None:
    late = ramp().between(150 * MS, 240 * MS)
    assert late is not None and late.held_s == pytest.approx(0.04)
    assert late.values[-1, 0] == pytest.approx(0.2)
    assert ramp().between(150 * MS, 251 * MS) is None
    assert ramp().between(300 * MS, 310 * MS) is None
    assert Readings(1, 0.05).between(0, MS) is None


def test_a_gap_inside_is_not_bridged() -> None:
    readings = ramp(count=5)
    readings.add(100 * MS, np.array([0.1]), 1.0)
    assert readings.between(10 * MS, 90 * MS) is None
    assert readings.between(10 * MS, 40 * MS) is not None


def test_readings_out_of_order_are_left_out_and_a_jump_begins_anew() -> None:
    readings = ramp()
    readings.add(50 * MS, np.array([9.0]), 1.0)
    readings.add(210 * MS, np.array([math.nan]), 1.0)
    assert len(readings) == 21
    readings.add(-2000 * MS, np.array([0.0]), 1.0)
    assert len(readings) == 1


def test_old_readings_go() -> None:
    readings = Readings(1, 1.0, most=100)
    for index in range(1000):
        readings.add(index * MS, np.zeros(1), 1.0)
    assert len(readings) <= 100 and readings.between(990 * MS, 999 * MS) is not None


def test_the_cameras_speed_holds_what_a_turn_adds() -> None:
    """On a robot that turns on the spot, a camera half a metre ahead moves."""
    ahead, centre = Speedometer(np.array([0.5, 0.0, 0.3])), Speedometer()
    for index in range(10):
        for sensor in (ahead, centre):
            sensor.add(index * 20 * MS, ZERO, np.array([0.0, 0.0, 2.0]), 0.02**2)
    found = ahead.between(30 * MS, 130 * MS)
    assert found == pytest.approx((1.0, 0.02**2))
    assert centre.between(30 * MS, 130 * MS) == pytest.approx((0.0, 0.02**2))


def test_a_speed_without_a_variance_gets_one() -> None:
    sensor = Speedometer()
    for index in range(10):
        sensor.add(index * 20 * MS, np.array([3.0, 0.0, 0.0]), ZERO)
    assert sensor.between(0, 100 * MS) == pytest.approx((3.0, UNNAMED_MPS**2))
    held = sensor.between(100 * MS, 200 * MS)
    assert held is not None and held[1] > UNNAMED_MPS**2


MOUNTING = se3.rotation_from_vector([0.3, -1.2, 0.5])
BIAS = np.array([0.02, -0.05, 0.03])


def turning(gyroscope: Gyroscope, seconds: float, noise: float = 0.0) -> None:
    """Readings at 200 Hz of a camera that turns by `rate_at`."""
    random = np.random.default_rng(2)
    for index in range(round(seconds * 200) + 1):
        rate = MOUNTING.T @ rate_at(index / 200) + BIAS + noise * random.standard_normal(3)
        gyroscope.add(index * 5 * MS, rate, noise**2)


def rate_at(seconds: float) -> np.ndarray:
    """Of the camera in its own axes, rad/s."""
    return np.array([0.1, 0.5 * math.sin(2 * seconds), 0.05])


def true_rotation(start: float, end: float) -> np.ndarray:
    steps = np.linspace(start, end, 400)
    rotation = np.eye(3)
    for a, b in pairwise(steps):
        rotation = rotation @ se3.rotation_from_vector(rate_at(0.5 * (a + b)) * (b - a))
    return rotation


def test_rotation_comes_out_in_the_cameras_axes_once_the_bias_is_known() -> None:
    gyroscope = Gyroscope(MOUNTING)
    turning(gyroscope, 4.0, noise=0.002)
    first = gyroscope.between(0, 100 * MS)
    assert first is not None and math.sqrt(first[1][0, 0]) == pytest.approx(0.1 * math.sqrt(10) * BIAS_RADPS, rel=0.05)
    for index in range(30):
        start, end = index * 0.1, index * 0.1 + 0.1
        gyroscope.learn(round(start * 1e9), round(end * 1e9), true_rotation(start, end), np.eye(3) * 1e-7)
    bias, deviation = gyroscope.bias
    np.testing.assert_allclose(bias, BIAS, atol=4 * deviation)
    assert deviation < 0.01
    rotation, covariance = gyroscope.between(3_000 * MS, 3_100 * MS) or (np.eye(3), np.eye(3))
    error = se3.vector_from_rotation(rotation @ true_rotation(3.0, 3.1).T)
    assert np.linalg.norm(error) < 4 * math.sqrt(np.trace(covariance)) < 4 * 0.002


def test_covariance_holds_the_errors_of_many_gyroscopes() -> None:
    """Monte Carlo over noise and bias: rotations over a tenth of a second, before and after the bias was learnt."""
    random, before, after = np.random.default_rng(4), [], []
    for _ in range(150):
        gyroscope, bias = Gyroscope(np.eye(3)), BIAS_RADPS * random.standard_normal(3)
        for index in range(200):
            gyroscope.add(index * 5 * MS, bias + 0.01 * random.standard_normal(3), 0.01**2)
        for errors in (before, after):
            rotation, covariance = gyroscope.between(500 * MS, 600 * MS) or (np.eye(3), np.eye(3))
            error = se3.vector_from_rotation(rotation)
            errors.append(float(error @ np.linalg.solve(covariance, error)) / 3)
            for index in range(0, 500, 100):
                gyroscope.learn(index * MS, (index + 100) * MS, np.eye(3), np.eye(3) * 1e-8)
    # A bias is the same in the next rotation, so it counts ten times; noise is not. So five rotations leave both.
    assert 0.07 < float(np.mean(before)) < 0.14
    assert 0.1 < float(np.mean(after)) < 1.2


def test_auto_takes_the_speed_where_a_topic_is_named() -> None:
    assert scale_with_sensors("auto", "/wheel/odom") == "speed"
    assert scale_with_sensors("auto", "") == "auto"
    assert scale_with_sensors("camera_height", "/wheel/odom") == "camera_height"
    with pytest.raises(ConfigError, match="speed_topic is empty"):
        scale_with_sensors("speed", "")
