"""Speed and gyroscope in the estimator, on a rendered drive whose network is wrong about metres."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from known_world import KnownModel
from numpy.typing import NDArray

from featdepth_ros import Estimator
from featdepth_ros.errors import ConfigError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.config import EstimatorConfig
from featdepth_ros.inference.sensing.gyroscope import Gyroscope
from featdepth_ros.inference.sensing.speedometer import Speedometer
from featdepth_ros.inference.types import Estimate, MotionState
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.simulation.sensors import GyroscopeStyle, TwistStyle, gyroscope, twists
from featdepth_ros.simulation.simulate import Simulation, SimulationConfig, default_camera
from featdepth_ros.simulation.trajectories import DriveStyle

pytest.importorskip("numba")
SIZE = (192, 640)
#: What the network makes of a metre.
WRONG = 1.4
BIAS = (0.02, -0.03, 0.01)


@dataclass(frozen=True)
class Drive:
    """A rendered drive with its other sensors."""

    simulation: Simulation
    frames: list[Frame]

    def estimates(self, prepare: Callable[[Estimator], None], **config: object) -> list[Estimate]:
        """What an estimator makes of it whose network gives the true depth times `WRONG`."""
        model = KnownModel(input_size=SIZE).eval()
        settings = {"precision": "fp32", "input_size": SIZE, "motion": "window", "standing_gate": False, **config}
        estimator = Estimator(model, EstimatorConfig(**settings), device="cpu")  # type: ignore[arg-type]
        prepare(estimator)
        result = []
        for frame in self.frames:
            assert frame.depth is not None
            model.script.depth = np.clip(WRONG * np.nan_to_num(frame.depth, nan=100.0), 0.5, 100.0)[::2, ::2]
            result.append(estimator.step(frame.image, frame.camera, frame.stamp_ns))
        return result

    def motion(self, index: int) -> NDArray[np.float64]:
        """True T_previous_current (4, 4) from frame index - 1 to index."""
        earlier, later = (self.frames[i].T_world_camera for i in (index - 1, index))
        assert earlier is not None and later is not None
        return se3.inverse(earlier) @ later

    def speedometer(self, until_s: float = 100.0) -> Speedometer:
        """Readings of wheels up to a time."""
        made = Speedometer(self.simulation.T_base_camera[:3, 3])
        for reading in twists(self.simulation, TwistStyle(noise_mps=0.02)):
            if reading.stamp_ns < self.simulation.config.start_ns + until_s * 1e9:
                made.add(reading.stamp_ns, reading.linear, reading.angular, 0.02**2)
        return made

    def gyroscope(self, factor: float = 1.0) -> Gyroscope:
        """Readings of a gyroscope with a bias, mounted askew on the base, in rad/s times a factor."""
        style = GyroscopeStyle(noise_radps=0.001, bias_radps=BIAS, mounting_rad=(0.2, -0.1, 0.3))
        T_base_gyro = next(iter(style.mounts.values()))
        made = Gyroscope(self.simulation.T_base_camera[:3, :3].T @ T_base_gyro[:3, :3])
        for reading in gyroscope(self.simulation, style):
            made.add(reading.stamp_ns, factor * reading.angular, 0.001**2)
        return made


@pytest.fixture(scope="module")
def drive() -> Drive:
    """Thirty frames of a street with a curve."""
    config = SimulationConfig(
        scene="street", seed=5, frames=30, camera=default_camera(SIZE[1], SIZE[0]),
        driving=DriveStyle(speed_mps=(6.0, 8.0), stops=0.0),
    )  # fmt: skip
    simulation = Simulation(config, threads=1)
    return Drive(simulation, list(simulation))


def length_ratio(drive: Drive, estimates: list[Estimate], first: int) -> float:
    lengths = [np.linalg.norm(e.motion.T_previous_current[:3, 3]) for e in estimates[first:]]
    true = [np.linalg.norm(drive.motion(i)[:3, 3]) for i in range(first, len(drive.frames))]
    return float(sum(lengths) / sum(true))


def rotation_errors(drive: Drive, estimates: list[Estimate]) -> NDArray[np.float64]:
    """(N, 3) of each step, radians."""
    pairs = [(e.motion.T_previous_current, drive.motion(i)) for i, e in enumerate(estimates) if i > 0]
    return np.array([se3.vector_from_rotation(a[:3, :3] @ b[:3, :3].T) for a, b in pairs])


def test_speed_gives_the_scale_of_motion_and_depth(drive: Drive) -> None:
    def with_speed(estimator: Estimator) -> None:
        estimator.sensors.speedometer = drive.speedometer()

    found = drive.estimates(with_speed, scale="speed")
    assert length_ratio(drive, found, 5) == pytest.approx(1.0, abs=0.012)
    assert (found[0].scale.kind, found[0].scale.source) == ("metric_unverified", "model")
    assert (found[-1].scale.kind, found[-1].scale.source) == ("metric", "speed")
    assert found[-1].scale.factor == pytest.approx(1 / WRONG, rel=0.03)
    assert found[-1].motion.scale_log_variance < 0.05**2
    unaided = drive.estimates(lambda estimator: None, scale="auto")
    assert length_ratio(drive, unaided, 5) > 1.25
    assert unaided[-1].scale.kind == "metric_unverified"


def test_speed_that_falls_silent_leaves_the_scale_where_it_was(drive: Drive) -> None:
    def with_speed(estimator: Estimator) -> None:
        estimator.sensors.speedometer = drive.speedometer(until_s=1.5)

    found = drive.estimates(with_speed, scale="speed")
    assert all(e.motion.state is MotionState.TRACKED for e in found[1:])
    assert length_ratio(drive, found, 20) == pytest.approx(1.0, abs=0.04)
    assert found[-1].motion.scale_log_variance > found[14].motion.scale_log_variance


def test_without_any_speed_the_weights_metres_stay_and_say_so(drive: Drive) -> None:
    found = drive.estimates(lambda estimator: None, scale="speed")
    assert {e.scale.kind for e in found} == {"metric_unverified"}
    assert all(e.motion.state is MotionState.TRACKED for e in found[1:])


def test_a_gyroscope_makes_the_rotation_better_and_learns_its_bias(drive: Drive) -> None:
    gyro = drive.gyroscope()

    def with_gyro(estimator: Estimator) -> None:
        estimator.sensors.gyroscope = gyro

    aided = rotation_errors(drive, drive.estimates(with_gyro))
    alone = rotation_errors(drive, drive.estimates(lambda estimator: None))
    assert np.sqrt((aided**2).mean()) < 0.9 * np.sqrt((alone**2).mean())
    bias, deviation = gyro.bias
    np.testing.assert_allclose(bias, BIAS, atol=max(3 * deviation, 0.003))


def test_a_gyroscope_in_degrees_a_second_is_not_believed(drive: Drive) -> None:
    wrong, right = drive.gyroscope(np.degrees(1.0)), drive.gyroscope()

    def errors(gyro: Gyroscope | None) -> NDArray[np.float64]:
        return rotation_errors(drive, drive.estimates(lambda estimator: setattr(estimator.sensors, "gyroscope", gyro)))

    misled, alone = errors(wrong)[2:], errors(None)[2:]
    assert wrong.contradicted and np.sqrt((misled**2).mean()) < 1.5 * np.sqrt((alone**2).mean())
    errors(right)
    assert not right.contradicted


def test_the_speed_needs_the_window() -> None:
    with pytest.raises(ConfigError, match="compares the robot's speed with the window's motion"):
        EstimatorConfig(scale="speed", motion="network")
