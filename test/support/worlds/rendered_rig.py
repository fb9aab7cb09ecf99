"""Several rendered cameras on one moving vehicle, with known mounting, depth and motion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.frame import Frame

START_NS = 1_700_000_000_000_000_000


@dataclass(frozen=True)
class Mounted:
    """A camera on the vehicle.

    Attributes:
        camera: calibration of the camera.
        yaw_deg: angle to the right of the first camera's view, degrees.
        shift_m: (3,) position in the first camera's optical axes, metres.
        delay_ns: delay of its images after those of the first camera, nanoseconds.
    """

    camera: CameraModel
    yaw_deg: float = 0.0
    shift_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    delay_ns: int = 0

    @property
    def T_first_camera(self) -> NDArray[np.float64]:  # noqa: N802 - the house's names of transforms
        """(4, 4) pose in the first camera's optical frame."""
        turn = se3.rotation_from_vector((0.0, np.deg2rad(self.yaw_deg), 0.0))
        return se3.make(turn, np.array(self.shift_m))


def front(width: int = 640, height: int = 192) -> Mounted:
    """Return a camera that looks straight ahead."""
    from featdepth_ros.simulation import default_camera

    return Mounted(default_camera(width, height))


def side(width: int = 480, height: int = 256, yaw_deg: float = 40.0, delay_ns: int = 30_000_000) -> Mounted:
    """Return a camera half a metre beside the first one, which looks to the side and takes its images later."""
    focal = 0.6 * width
    camera = CameraModel(width, height, focal, focal, 0.5 * width - 0.5, 0.5 * height - 0.5)
    return Mounted(camera, yaw_deg, (np.sign(yaw_deg) * 0.5, 0.0, -0.3), delay_ns)


@dataclass
class RenderedRig:
    """The images of all cameras in the order of their stamps."""

    cameras: Mapping[str, Mounted]
    scene: str = "street"
    seed: int = 9001
    frames: int = 12
    rate_hz: float = 10.0
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.names = tuple(self.cameras)

    def __iter__(self) -> Iterator[tuple[str, Frame]]:
        from featdepth_ros.simulation import Renderer, Simulation, SimulationConfig

        seconds = (self.frames + 1) / self.rate_hz
        simulation = Simulation(
            SimulationConfig(self.scene, self.seed, self.frames + 1, self.rate_hz, start_ns=START_NS), threads=1
        )
        renderers = {n: Renderer(simulation.scene, m.camera, threads=1) for n, m in self.cameras.items()}
        for index in range(self.frames):
            for name, mounted in sorted(self.cameras.items(), key=lambda item: item[1].delay_ns):
                at_ns = round(index * 1e9 / self.rate_hz) + mounted.delay_ns
                assert at_ns * 1e-9 < seconds
                T = simulation.path.poses(np.array([at_ns * 1e-9]))[0] @ mounted.T_first_camera
                image, depth = renderers[name].render(T)
                yield name, Frame(image, START_NS + at_ns, f"{name}{index:06d}", mounted.camera, depth, T)
