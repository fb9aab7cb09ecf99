"""Twist and gyroscope of a simulated robot: they add up to the truth, err as told, and are read back from a bag."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featdepth_ros.errors import ConfigError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel

pytest.importorskip("numba")
pytest.importorskip("rosbags")

from featdepth_ros.recordings.bags.export import write_ros2_bag
from featdepth_ros.recordings.open import open_recording
from featdepth_ros.simulation import Faults, Motion, Simulation, SimulationConfig
from featdepth_ros.simulation.scenes.room import FreeSpace
from featdepth_ros.simulation.sensors import GyroscopeStyle, TwistStyle, gyroscope, readings, twists
from featdepth_ros.simulation.trajectories import DriveStyle

pytestmark = pytest.mark.slow

CONFIG = SimulationConfig(
    scene="street", seed=3, frames=31, camera=CameraModel(64, 32, 40.0, 40.0, 31.5, 15.5),
    driving=DriveStyle(pitch_rad=0.05),
)  # fmt: skip


@pytest.fixture(scope="module", params=["street", "room"])
def simulation(request: pytest.FixtureRequest) -> Simulation:
    return Simulation(replace(CONFIG, scene=request.param), threads=1)


def base(simulation: Simulation, seconds: float) -> np.ndarray:
    """Return the base's true pose at a time."""
    pose = simulation.path.poses(np.array([seconds]))[0] @ se3.inverse(simulation.T_base_camera)
    return np.asarray(pose)


def test_a_perfect_gyroscope_adds_up_to_the_true_rotation(simulation: Simulation) -> None:
    mounting = (0.7, -0.2, 1.5)
    style = GyroscopeStyle(rate_hz=200.0, mounting_rad=mounting)
    T_base_imu = style.mounts["imu_link"]
    summed = base(simulation, -0.0025) @ T_base_imu
    found = list(gyroscope(simulation, style))
    assert len(found) == 601 and found[-1].stamp_ns == simulation.stamps_ns[-1]
    for reading in found:
        summed[:3, :3] = summed[:3, :3] @ se3.rotation_from_vector(reading.angular / 200.0)
    expected = base(simulation, 3.0025) @ T_base_imu
    np.testing.assert_allclose(summed[:3, :3], expected[:3, :3], atol=1e-9)
    assert np.abs([r.angular for r in found]).max() > 0.01


def test_perfect_twists_add_up_to_the_true_motion(simulation: Simulation) -> None:
    found = list(twists(simulation, TwistStyle(rate_hz=50.0)))
    last = found[-1]
    assert last.pose is not None
    expected = se3.inverse(base(simulation, -0.01)) @ base(simulation, 3.0)
    # The last reading's pose is half a period into it, on an even motion through the period.
    np.testing.assert_allclose(last.pose, expected, atol=2e-3)
    forward = np.array([r.linear for r in found])
    if not isinstance(simulation.scene.path, FreeSpace):
        assert forward[:, 0].min() > 1.0 and np.abs(forward[:, 1:]).max() < 0.6, "a car drives along its own x axis"


def test_noise_bias_and_scale_are_as_told(simulation: Simulation) -> None:
    style = GyroscopeStyle(noise_radps=0.01, bias_radps=(0.02, -0.03, 0.05))
    wrong = np.array([r.angular for r in gyroscope(simulation, style)])
    true = np.array([r.angular for r in gyroscope(simulation, GyroscopeStyle())])
    np.testing.assert_allclose((wrong - true).mean(0), style.bias_radps, atol=0.002)
    np.testing.assert_allclose((wrong - true).std(0), 0.01, rtol=0.15)
    again = np.array([r.angular for r in gyroscope(simulation, style)])
    np.testing.assert_array_equal(wrong, again)
    true_v, wrong_v = (
        np.array([r.linear for r in twists(simulation, s)])
        for s in (TwistStyle(rate_hz=200.0), TwistStyle(rate_hz=200.0, scale=1.1, noise_mps=0.05))
    )
    np.testing.assert_allclose((wrong_v - 1.1 * true_v).std(0), 0.05, rtol=0.15)


def test_a_robot_that_stands_measures_nothing() -> None:
    still = Simulation(replace(CONFIG, motion=Motion(stands=((1.0, 3.0),), ramp_s=0.5)), threads=1)
    for reading in readings(still, TwistStyle(), GyroscopeStyle()):
        at = (reading.stamp_ns - still.stamps_ns[0]) * 1e-9
        if 1.1 < at < 2.9:
            np.testing.assert_allclose(reading.angular, 0.0, atol=1e-9)


@pytest.mark.parametrize("message", ["odometry", "stamped"])
def test_a_bag_holds_the_readings(message: str, tmp_path: Path) -> None:
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    simulation = Simulation(replace(CONFIG, frames=6), threads=1)
    twist, gyro = TwistStyle(message=message, noise_mps=0.02), GyroscopeStyle(mounting_rad=(1.0, 0.0, 0.0))  # type: ignore[arg-type]
    expected = list(readings(simulation, twist, gyro))
    path = tmp_path / "bag"
    write_ros2_bag(
        path, simulation, T_base_camera=simulation.T_base_camera, readings=iter(expected), mounts=gyro.mounts
    )
    topic = "/wheel/odom" if message == "odometry" else "/wheel/twist"
    with AnyReader([path], default_typestore=get_typestore(Stores.LATEST)) as bag:
        messages = [(c.topic, t, bag.deserialize(raw, c.msgtype)) for c, t, raw in bag.messages()]
    assert [t for _, t, _ in messages] == sorted(t for _, t, _ in messages)
    rates = [m for name, _, m in messages if name == "/imu/data"]
    velocities = [m for name, _, m in messages if name == topic]
    assert len(rates) == 101 and len(velocities) == 26
    assert rates[0].header.frame_id == "imu_link" and rates[0].orientation_covariance[0] == -1
    assert rates[0].linear_acceleration_covariance[0] == -1
    first = next(r for r in expected if hasattr(r, "linear"))
    said = velocities[0].twist.twist if message == "odometry" else velocities[0].twist
    np.testing.assert_allclose([said.linear.x, said.linear.y, said.linear.z], first.linear)
    if message == "odometry":
        assert velocities[0].child_frame_id == "base_link"
        assert velocities[0].twist.covariance[0] == pytest.approx(0.02**2)
    static = next(m for name, _, m in messages if name == "/tf_static")
    mount = {t.child_frame_id: t for t in static.transforms}["imu_link"]
    assert mount.header.frame_id == "base_link" and mount.transform.rotation.z == pytest.approx(np.sin(0.5))
    assert len(list(open_recording(path))) == 6, "the images are still the only ones to choose from"


def test_a_cut_recording_and_wrong_rates_are_refused() -> None:
    simulation = Simulation(replace(CONFIG, faults=Faults(cut=(5, 1.0))), threads=1)
    with pytest.raises(ConfigError, match="cut"):
        next(gyroscope(simulation, GyroscopeStyle()))
    plain = Simulation(replace(CONFIG, frames=2), threads=1)
    with pytest.raises(ConfigError, match="expected between 1 and 1000"):
        next(twists(plain, TwistStyle(rate_hz=0.1)))
