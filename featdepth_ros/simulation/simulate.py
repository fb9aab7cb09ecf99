"""A recording that never was: frames with true depth, motion, calibration and stamps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ConfigError, nearest_name
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.simulation.renderer import Renderer
from featdepth_ros.simulation.road import Road
from featdepth_ros.simulation.room import make_room
from featdepth_ros.simulation.scene import Scene
from featdepth_ros.simulation.street import make_street
from featdepth_ros.simulation.trajectories import DriveStyle, HandStyle, drive, hand_held

NANOSECONDS = 1_000_000_000

SCENES: dict[str, Callable[[int, float], Scene]] = {
    "street": make_street,
    "room": lambda seed, length_m: make_room(seed),
}


def default_camera(width: int = 640, height: int = 192) -> CameraModel:
    """Return a KITTI-like pinhole: the reference's normalised intrinsics (fx 0.58, fy 1.92) at a size."""
    return CameraModel(width, height, 0.58 * width, 1.92 * height, 0.5 * width - 0.5, 0.5 * height - 0.5)


@dataclass(frozen=True)
class SimulationConfig:
    """What to simulate.

    Attributes:
        scene: ``street``, ``room``, ...: see `SCENES`.
        seed: decides the scene and the motion; the same seed gives the same bytes on the same installation.
        frames: how many.
        rate_hz: frames per second.
        camera: its full image is rendered; distortion is honoured.
        baseline_m: distance of the right camera of a stereo pair.
        start_ns: stamp of the first frame.
        driving, holding: the motion, for scenes with a road and for the others.
        smooth: average rays on outlines.
    """

    scene: str = "street"
    seed: int = 0
    frames: int = 100
    rate_hz: float = 10.0
    camera: CameraModel = field(default_factory=default_camera)
    baseline_m: float = 0.54
    start_ns: int = 1_700_000_000 * NANOSECONDS
    driving: DriveStyle = DriveStyle()
    holding: HandStyle = HandStyle()
    smooth: bool = True

    def __post_init__(self) -> None:
        if self.scene not in SCENES:
            raise ConfigError(f"no scene '{self.scene}'{nearest_name(self.scene, SCENES)}")
        if self.frames < 1 or not self.rate_hz > 0:
            raise ConfigError(f"{self.frames} frames at {self.rate_hz} Hz; expected at least 1 frame and a positive rate")


def make_scene(kind: str, seed: int, length_m: float = 400.0) -> Scene:
    """Build a scene by name.

    Args:
        kind: one of `SCENES`.
        seed: decides everything.
        length_m: how long a road to build, for the kinds that have one.

    Raises:
        ConfigError: no such kind.
    """
    if kind not in SCENES:
        raise ConfigError(f"no scene '{kind}'{nearest_name(kind, SCENES)}")
    return SCENES[kind](seed, length_m)


class Simulation:
    """A simulated recording: ``len``, iteration over `Frame`, random access to poses.

    Attributes:
        config, scene: what it was made from.
        poses: the ``T_world_camera`` of every frame, (4, 4) float64 each.
        stamps_ns: the stamp of every frame.
    """

    def __init__(self, config: SimulationConfig, threads: int | None = None) -> None:
        self.config = config
        seconds = np.arange(config.frames) / config.rate_hz
        self.stamps_ns = [config.start_ns + round(i * NANOSECONDS / config.rate_hz) for i in range(config.frames)]
        length_m = 200.0 + config.driving.speed_mps[1] * float(seconds[-1])
        self.scene = make_scene(config.scene, config.seed, length_m)
        if isinstance(self.scene.path, Road):
            self.poses = drive(self.scene, seconds, config.driving, config.seed)
        else:
            self.poses = hand_held(self.scene, seconds, config.holding, config.seed)
        self.renderer = Renderer(self.scene, config.camera, threads, config.smooth)

    def __len__(self) -> int:
        return self.config.frames

    def __iter__(self) -> Iterator[Frame]:
        for index in range(len(self)):
            yield self.frame(index)

    def frame(self, index: int, offset_m: float = 0.0) -> Frame:
        """Render one frame, from a camera moved ``offset_m`` to the right along its own x axis."""
        T = self.poses[index].copy()  # noqa: N806 - a transform
        T[:3, 3] += offset_m * T[:3, 0]
        image, depth = self.renderer.render(T)
        return Frame(image, self.stamps_ns[index], f"{index:06d}", self.config.camera, depth, T)

    def stereo(self) -> Iterator[tuple[Frame, Frame]]:
        """Iterate over (left, right) pairs; the right camera stands ``baseline_m`` along the left one's x axis."""
        for index in range(len(self)):
            yield self.frame(index), self.frame(index, self.config.baseline_m)


def simulate(config: SimulationConfig) -> Iterator[Frame]:
    """Iterate over the frames of a simulation."""
    return iter(Simulation(config))


def relative_motion(T_world_a: NDArray[np.float64], T_world_b: NDArray[np.float64]) -> NDArray[np.float64]:  # noqa: N803
    """Return ``T_a_b``: takes points of camera b to camera a. (4, 4) float64."""
    return np.linalg.inv(T_world_a) @ T_world_b
