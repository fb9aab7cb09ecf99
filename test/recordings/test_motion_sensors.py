"""Other sensors of recordings: twists and gyroscopes of bags, the gyroscope of an EuRoC folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from featdepth_ros.errors import RecordingError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.recordings import open_recording, write_euroc, write_ros2_bag
from featdepth_ros.recordings.datasets.euroc import sensor_extrinsics
from featdepth_ros.recordings.motion_sensors import gyroscope_readings, speed_readings
from featdepth_ros.simulation.sensors import GyroscopeStyle, TwistStyle, readings
from featdepth_ros.simulation.simulate import Simulation, SimulationConfig, default_camera

pytest.importorskip("rosbags")
STYLE = GyroscopeStyle(noise_radps=0.003, mounting_rad=(0.2, -0.1, 0.3))


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return Simulation(SimulationConfig(scene="room", seed=3, frames=3, camera=default_camera(96, 64)), threads=1)


def bag(
    simulation: Simulation, path: Path, twist: TwistStyle, mounts: dict[str, NDArray[np.float64]] | None = STYLE.mounts
) -> Path:
    """A bag with images, twist and gyroscope."""
    write_ros2_bag(
        path, iter(simulation), T_base_camera=simulation.T_base_camera,
        readings=readings(simulation, twist, STYLE), mounts=mounts,
    )  # fmt: skip
    return path


@pytest.mark.parametrize(("message", "topic"), [("odometry", "/wheel/odom"), ("stamped", "wheel/twist")])
def test_twists_of_a_bag(simulation: Simulation, tmp_path: Path, message: str, topic: str) -> None:
    style = TwistStyle(message=message, noise_mps=0.02)  # type: ignore[arg-type]
    found = speed_readings(open_recording(bag(simulation, tmp_path / "bag", style)), topic)
    assert len(found.messages) == 11  # 50 Hz over 0.2 s
    assert found.messages[0].frame == "base_link"
    assert found.messages[0].variance == pytest.approx(0.02**2 if message == "odometry" else 0.0)
    assert found.T_sensor_camera is not None
    np.testing.assert_allclose(found.T_sensor_camera, simulation.T_base_camera, atol=1e-9)


def test_gyroscope_of_a_bag_with_its_mounting(simulation: Simulation, tmp_path: Path) -> None:
    found = gyroscope_readings(open_recording(bag(simulation, tmp_path / "bag", TwistStyle())), "/imu/data")
    assert len(found.messages) == 41 and found.messages[0].variance == pytest.approx(0.003**2)
    assert found.T_sensor_camera is not None
    expected = se3.inverse(STYLE.mounts["imu_link"]) @ simulation.T_base_camera
    np.testing.assert_allclose(found.T_sensor_camera, expected, atol=1e-9)


def test_what_a_bag_does_not_hold_is_said(simulation: Simulation, tmp_path: Path) -> None:
    recording = open_recording(bag(simulation, tmp_path / "bag", TwistStyle(), mounts=None))
    with pytest.raises(RecordingError, match=r"topics with some: .*/wheel/odom"):
        speed_readings(recording, "/wheel/speed")
    with pytest.raises(RecordingError, match="no gyroscope readings"):
        gyroscope_readings(recording, "/wheel/odom")
    with pytest.raises(RecordingError, match="no transform on /tf_static links 'imu_link'"):
        gyroscope_readings(recording, "/imu/data")


def euroc(simulation: Simulation, path: Path) -> Path:
    """An EuRoC folder with a gyroscope that is turned by a right angle against the body."""
    write_euroc(path, iter(simulation))
    sensor = path / "mav0" / "imu0"
    sensor.mkdir()
    (sensor / "data.csv").write_text(
        "#timestamp [ns],w_RS_S_x [rad s^-1],...\n1000,0.1,0.2,0.3,9,0,0\n2000,0.2,0.2,0.3,9,0,0\n"
    )
    turned = se3.make(se3.rotation_from_vector([0.0, 0.0, np.pi / 2]), np.zeros(3))
    (sensor / "sensor.yaml").write_text(f"T_BS:\n  data: {turned.ravel().tolist()}\n")
    return path


def test_gyroscope_of_a_euroc_folder(simulation: Simulation, tmp_path: Path) -> None:
    found = gyroscope_readings(open_recording(euroc(simulation, tmp_path / "rec")), "imu0")
    assert [message.stamp_ns for message in found.messages] == [1000, 2000]
    np.testing.assert_array_equal(found.messages[1].angular, [0.2, 0.2, 0.3])
    assert found.T_sensor_camera is not None
    T_body_camera = sensor_extrinsics(tmp_path / "rec" / "mav0" / "cam0" / "sensor.yaml")
    turned = se3.rotation_from_vector([0.0, 0.0, np.pi / 2])
    np.testing.assert_allclose(turned @ found.T_sensor_camera[:3, :3], T_body_camera[:3, :3], atol=1e-9)


def test_a_euroc_folder_without_gyroscope_mounting_or_sense_is_refused(simulation: Simulation, tmp_path: Path) -> None:
    folder = euroc(simulation, tmp_path / "rec")
    recording = open_recording(folder)
    with pytest.raises(RecordingError, match="it has: imu0"):
        gyroscope_readings(recording, "imu1")
    with pytest.raises(RecordingError, match="it is not a bag"):
        speed_readings(recording, "/odom")
    (folder / "mav0/imu0/sensor.yaml").unlink()
    with pytest.raises(RecordingError, match="T_BS"):
        gyroscope_readings(recording, "imu0")
    (folder / "mav0/imu0/data.csv").write_text("1000,0.1,fast,0.3\n")
    with pytest.raises(RecordingError, match="line 1"):
        gyroscope_readings(recording, "imu0")
