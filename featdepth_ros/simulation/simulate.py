"""Simulated recordings: frames with true depth, motion, calibration and stamps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ConfigError, nearest_name
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.recordings.frame import Frame
from featdepth_ros.simulation.camera_path import CameraPath, Motion
from featdepth_ros.simulation.faults import Faults
from featdepth_ros.simulation.render.camera_effects import CameraEffects, random_effects
from featdepth_ros.simulation.render.scene import Scene, turn
from featdepth_ros.simulation.scenes.clutter import make_clutter
from featdepth_ros.simulation.scenes.corridor import make_corridor
from featdepth_ros.simulation.scenes.desk import make_desk
from featdepth_ros.simulation.scenes.highway import make_highway, make_underpass
from featdepth_ros.simulation.scenes.road import Road
from featdepth_ros.simulation.scenes.room import make_room, make_textureless_room
from featdepth_ros.simulation.scenes.street import make_avenue, make_hills, make_lane, make_street
from featdepth_ros.simulation.shutter import Exposure, Shutter
from featdepth_ros.simulation.traffic.style import TrafficStyle
from featdepth_ros.simulation.traffic.traffic import Traffic
from featdepth_ros.simulation.trajectories import R_BODY_OPTICAL, DriveStyle, HandStyle

NANOSECONDS = 1_000_000_000
#: Standard deviation of a sensor's read noise, where 1 is white: one grey level of 255, as in a good camera by day.
READ_NOISE = 1.0 / 255.0

SCENES: dict[str, Callable[[int, float], Scene]] = {
    "street": make_street,
    "avenue": make_avenue,
    "lane": make_lane,
    "highway": make_highway,
    "underpass": make_underpass,
    "hills": make_hills,
    "room": lambda seed, _length_m: make_room(seed),
    "corridor": lambda seed, _length_m: make_corridor(seed),
    "clutter": make_clutter,
    "desk": lambda seed, _length_m: make_desk(seed),
    "textureless": lambda seed, _length_m: make_textureless_room(seed),
}


#: Share of each kind of scene in `random_scene_config`; it does not use the other kinds.
SCENE_SHARES: dict[str, float] = {"street": 0.4, "room": 0.3, "corridor": 0.12, "clutter": 0.18}


def default_camera(width: int = 640, height: int = 192) -> CameraModel:
    """Return a KITTI-like pinhole camera with the reference's normalised intrinsics (fx 0.58, fy 1.92).

    At aspect ratios other than KITTI's, for which fy 1.92 would give stretched pixels, pixels are square instead.
    """
    fx, fy = 0.58 * width, 1.92 * height
    if abs(fy / fx - 1.0) > 0.05:
        fy = fx
    return CameraModel(width, height, fx, fy, 0.5 * width - 0.5, 0.5 * height - 0.5)


@dataclass(frozen=True)
class SimulationConfig:
    """Settings of a simulation.

    Attributes:
        scene: kind of scene: ``street``, ``room``, ...; see `SCENES`.
        seed: random seed of scene and motion; the same seed gives the same bytes on the same installation.
        frames: number of frames.
        rate_hz: frames per second.
        camera: the camera, whose full image is rendered with its distortion.
        baseline_m: distance of the right camera of a stereo pair, metres.
        start_ns: stamp of the first frame, nanoseconds.
        driving, holding: style of the motion, for scenes with a road and for the others.
        smooth: anti-aliasing of outlines.
        effects: effects of a real camera on the images, which do not change ground truth. None: images as rendered,
            but with read noise while the camera stands, because no real camera takes identical images.
        traffic: moving vehicles, in scenes with a road; None: no traffic.
        motion: changes to the camera's own motion: a turn on the spot, or stops.
        rolling_shutter_s: seconds from the exposure of the first row to that of the last; 0: global shutter. Stamp and
            pose belong to the middle row. Depth is that of the point which a pixel shows, measured along the middle
            row's optical axis.
        faults: faults of single images.
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
    effects: CameraEffects | None = None
    traffic: TrafficStyle | None = None
    motion: Motion = Motion()
    rolling_shutter_s: float = 0.0
    faults: Faults = Faults()

    def __post_init__(self) -> None:
        if self.scene not in SCENES:
            raise ConfigError(f"there is no scene '{self.scene}'{nearest_name(self.scene, SCENES)}")
        if self.frames < 1 or not self.rate_hz > 0:
            raise ConfigError(
                f"{self.frames} frames at {self.rate_hz} Hz; expected at least 1 frame and a positive rate"
            )
        if not 0.0 <= self.rolling_shutter_s <= 1.0 / self.rate_hz:
            raise ConfigError(
                f"the rolling shutter takes {self.rolling_shutter_s} s at {self.rate_hz} Hz; expected from 0 to the "
                f"time between two frames, {1.0 / self.rate_hz:g} s"
            )


def make_scene(kind: str, seed: int, length_m: float = 400.0) -> Scene:
    """Build a scene by name.

    Args:
        kind: one of `SCENES`.
        seed: random seed of the whole scene.
        length_m: length of the road, for kinds with a road.

    Raises:
        ConfigError: the kind is unknown.
    """
    if kind not in SCENES:
        raise ConfigError(f"there is no scene '{kind}'{nearest_name(kind, SCENES)}")
    return SCENES[kind](seed, length_m)


class Simulation:
    """A simulated recording, with ``len``, iteration over `Frame` and random access to poses.

    Attributes:
        config, scene: settings and scene of the recording.
        poses: ``T_world_camera`` of every frame, (4, 4) float64 each.
        stamps_ns: stamp of every frame.
        seconds: time of every frame on the path; it jumps at a cut.
        path: the camera's pose over time.
    """

    def __init__(self, config: SimulationConfig, threads: int | None = None) -> None:
        self.config = config
        self.seconds = np.arange(config.frames) / config.rate_hz
        self.seconds += [config.faults.jump_s(index) for index in range(config.frames)]
        self.stamps_ns = [config.start_ns + round(i * NANOSECONDS / config.rate_hz) for i in range(config.frames)]
        duration_s = float(self.seconds[-1])
        self.scene = make_scene(config.scene, config.seed, 200.0 + config.driving.speed_mps[1] * duration_s)
        self.path = CameraPath(self.scene, config.driving, config.holding, config.seed, config.motion)
        self.poses = self.path.poses(self.seconds)
        traffic = None
        if config.traffic is not None:
            traffic = Traffic(self.scene, config.traffic, config.seed, self.path.along_m, duration_s)
            self.scene = traffic.scene
        self._at_rest = CameraEffects(noise=READ_NOISE, seed=config.seed)
        self._shutter = Shutter(self.scene, config.camera, traffic, threads, config.smooth)
        self._shutter.open(self.path, self.seconds, config.rolling_shutter_s)

    def __len__(self) -> int:
        return self.config.frames

    def __iter__(self) -> Iterator[Frame]:
        for index in range(len(self)):
            yield self.frame(index)

    def frame(self, index: int, offset_m: float = 0.0) -> Frame:
        """Render one frame, from a camera moved ``offset_m`` to the right along its own x axis."""
        config, view = self.config, int(offset_m != 0.0)
        truth = self._expose(index, offset_m)
        number = config.faults.shown(index)
        taken = truth if number == index else self._expose(number, offset_m)
        image = taken.image
        effects = config.effects or (self._at_rest if self._stands(number) else None)
        if effects is not None:
            image = effects.apply(image, taken.depth, number, view)
        image = config.faults.apply(image, number, view)
        name = f"{index:06d}"
        return Frame(
            image, self.stamps_ns[index], name, config.camera, truth.depth, truth.T_world_camera, moving=truth.moving
        )

    def _expose(self, index: int, offset_m: float) -> Exposure:
        return self._shutter.expose(index, self.poses[index], float(self.seconds[index]), offset_m)

    def _stands(self, index: int) -> bool:
        """Return whether the camera has not moved since the previous frame."""
        return index > 0 and np.array_equal(self.poses[index], self.poses[index - 1])

    def row_poses(self, index: int) -> NDArray[np.float64]:
        """Return (H, 4, 4) ``T_world_camera`` at the exposure of each row of a frame."""
        return self._shutter.row_poses(index, self.poses[index])

    def right(self) -> Iterator[Frame]:
        """Iterate over the right camera's frames; it is ``baseline_m`` along the left camera's x axis."""
        return (self.frame(index, self.config.baseline_m) for index in range(len(self)))

    @property
    def T_base_camera(self) -> NDArray[np.float64]:  # noqa: N802 - the house's names of transforms
        """(4, 4) pose of the camera on its base: above the road for a drive, at the base's origin if hand-held."""
        height = self.config.driving.height_m if isinstance(self.scene.path, Road) else 0.0
        return se3.make(turn(0.0, self._pitch_rad()) @ R_BODY_OPTICAL, np.array([0.0, 0.0, height]))

    def _pitch_rad(self) -> float:
        return self.config.driving.pitch_rad if isinstance(self.scene.path, Road) else 0.0

    @property
    def path_length_m(self) -> float:
        """Length of the camera's path, metres."""
        places = np.array([T[:3, 3] for T in self.poses])
        return float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())

    def stereo(self) -> Iterator[tuple[Frame, Frame]]:
        """Iterate over (left, right) pairs; the right camera is ``baseline_m`` along the left camera's x axis."""
        for index in range(len(self)):
            yield self.frame(index), self.frame(index, self.config.baseline_m)


def simulate(config: SimulationConfig) -> Iterator[Frame]:
    """Iterate over the frames of a simulation."""
    return iter(Simulation(config))


def random_scene_config(seed: int, frames: int = 30, size: tuple[int, int] = (192, 640)) -> SimulationConfig:
    """Return a random configuration for training.

    Scene, camera height and pitch, focal length, speed, rate, light and camera effects vary.

    Args:
        seed: random seed of all values, and seed of the scene.
        frames: number of frames.
        size: (height, width) of the images, pixels.
    """
    rng = np.random.default_rng([seed, 51])
    kind = str(rng.choice(sorted(SCENE_SHARES), p=[SCENE_SHARES[name] for name in sorted(SCENE_SHARES)]))
    height, width = size
    focal = width * float(np.exp(rng.uniform(np.log(0.45), np.log(1.2))))
    cx, cy = 0.5 * width - 0.5 + width * rng.normal(0, 0.02), 0.5 * height - 0.5 + height * rng.normal(0, 0.03)
    slow = float(rng.uniform(2.0, 8.0) if kind == "street" else rng.uniform(0.8, 2.5))
    driving = DriveStyle(
        speed_mps=(slow, slow + float(rng.uniform(1.0, 8.0) if kind == "street" else rng.uniform(0.3, 2.0))),
        height_m=float(rng.uniform(1.1, 2.2) if kind == "street" else rng.uniform(0.5, 1.7)),
        pitch_rad=float(rng.normal(0.0, 0.04)),
        jitter=float(rng.uniform(0.0, 2.0)),
        stops=0.5,
    )
    indoor = kind in ("room", "corridor")
    return SimulationConfig(
        scene=kind,
        seed=seed,
        frames=frames,
        rate_hz=float(rng.uniform(8.0, 20.0)) if indoor else float(rng.uniform(7.0, 12.0)),
        camera=CameraModel(width, height, focal, focal * float(rng.uniform(0.98, 1.02)), float(cx), float(cy)),
        baseline_m=float(rng.uniform(0.06, 0.2)) if indoor else float(rng.uniform(0.2, 0.6)),
        driving=driving,
        holding=HandStyle(float(rng.uniform(0.15, 0.7)), float(rng.uniform(0.3, 1.2))),
        effects=random_effects(seed),
    )
