"""Random cameras and short paths through rendered scenes, as varied as the cameras in use."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.simulation.render.scene import Scene
from featdepth_ros.simulation.scenes.desk import Worktop
from featdepth_ros.simulation.scenes.road import Road
from featdepth_ros.simulation.scenes.room import FreeSpace
from featdepth_ros.simulation.trajectories import camera_lane_m

Rng = np.random.Generator
Poses = NDArray[np.float64]

#: Range of camera heights above the ground in `roam`, and the height at which a camera looks level, metres.
HEIGHTS_M, LEVEL_M = (0.15, 3.0), 1.2
#: Range of distances to the observed objects in `lean`, metres.
CLOSE_M = (0.3, 1.1)


@dataclass(frozen=True)
class Movement:
    """The motion of a camera from frame to frame.

    Attributes:
        position: (3,) position in the first frame, metres in the world (z up).
        velocity: (3,) velocity in the world, metres per frame.
        yaw, pitch, roll: angles in the first frame, radians; left, up and right-side-down are positive.
        rates: (3,) rates of yaw, pitch and roll, radians per frame.
        shake: standard deviations of the noise on each frame's position (metres) and angles (radians).
    """

    position: NDArray[np.float64]
    velocity: NDArray[np.float64]
    yaw: float
    pitch: float
    roll: float
    rates: NDArray[np.float64]
    shake: tuple[float, float] = (0.0, 0.0)

    def poses(self, frames: int, rng: Rng) -> Poses:
        """Return the (frames, 4, 4) poses ``T_world_camera``, optical axes."""
        return np.stack([self._pose(k, rng) for k in range(frames)])

    def _pose(self, k: int, rng: Rng) -> NDArray[np.float64]:
        shift = rng.normal(0.0, 1.0, 3) * self.shake[0]
        angles = np.array([self.yaw, self.pitch, self.roll]) + k * self.rates + rng.normal(0.0, 1.0, 3) * self.shake[1]
        T_world_camera = np.eye(4)
        T_world_camera[:3, :3] = optical_axes(*angles)
        T_world_camera[:3, 3] = self.position + k * self.velocity + shift
        return T_world_camera


def optical_axes(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Return a rotation with columns right, down and forward in the world (z up), from angles in radians.

    Yaw turns left from +x, pitch turns up, and roll turns the right side down.
    """
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    forward = np.array([cy * cp, sy * cp, sp])
    right = np.array([sy, -cy, 0.0])
    down = np.cross(forward, right)
    c, s = math.cos(roll), math.sin(roll)
    return np.stack([c * right + s * down, c * down - s * right, forward], axis=1)


def draw_camera(rng: Rng, height: int, width: int, focal_px: tuple[float, float]) -> CameraModel:
    """Return a random pinhole camera: log-uniform focal length in ``focal_px``, nearly square pixels, central axis."""
    focal = float(np.exp(rng.uniform(*np.log(focal_px))))
    aspect = float(np.exp(rng.normal(0.0, 0.02)))
    return CameraModel(
        width=width,
        height=height,
        fx=focal * aspect,
        fy=focal / aspect,
        cx=(width - 1) / 2 + rng.normal(0.0, 0.01) * width,
        cy=(height - 1) / 2 + rng.normal(0.0, 0.01) * height,
    )


def walk(scene: Scene, rng: Rng) -> Movement:
    """Return the movement of a pedestrian, a small robot or a drone on a path."""
    return drive(scene, rng, on_foot_share=1.0)


def ride(scene: Scene, rng: Rng, height_m: float) -> Movement:
    """Return the movement of a car whose camera looks ahead, ``height_m`` above the road; suspension and load vary."""
    drawn = drive(scene, rng, on_foot_share=0.0)
    ground = scene.ground_height(*drawn.position[:2])[0]
    position = np.array([*drawn.position[:2], ground + height_m * float(np.exp(rng.normal(0.0, 0.01)))])
    slope = math.atan2(drawn.velocity[2], float(np.hypot(*drawn.velocity[:2])))
    pitch, roll = rng.normal(0.0, 0.008, 2).tolist()
    return dataclasses.replace(drawn, position=position, pitch=slope + pitch, roll=roll)


def drive(scene: Scene, rng: Rng, on_foot_share: float = 0.25) -> Movement:
    """Return the movement of a car on a street, or with ``on_foot_share`` that of a pedestrian or small robot."""
    road = scene.path
    assert isinstance(road, Road)
    on_foot = rng.random() < on_foot_share
    s = float(rng.uniform(8.0, road.length_m - 30.0))
    reach = road.half_width_m
    left = float(rng.uniform(-reach - 1.5, reach + 1.5) if on_foot else rng.uniform(-0.55, 0.3) * reach)
    x, y, heading = road.at(s, left)
    rise = float(rng.uniform(0.25, 1.9) if on_foot else rng.uniform(1.1, 2.3))
    position = np.array([x, y, scene.ground_height(x, y)[0] + rise])
    speed = float(rng.uniform(0.0, 0.25) if on_foot else rng.uniform(0.0, 1.7))
    ahead = road.at(s + max(speed, 0.05), left)
    run = np.array([ahead[0], ahead[1], scene.ground_height(ahead[0], ahead[1])[0] + rise]) - position
    velocity = run / np.linalg.norm(run) * speed
    view_yaw = float(rng.uniform(-math.pi, math.pi)) if on_foot and rng.random() < 0.5 else float(rng.normal(0.0, 0.06))
    spread = 0.012 if on_foot else 0.005
    bend = float(ahead[2] - heading) if speed > 0.05 else 0.0
    rates = rng.normal(0.0, 1.0, 3) * [spread * (1.5 if on_foot else 1.0), spread * 0.7, spread * 0.5]
    return Movement(
        position=position,
        velocity=velocity,
        yaw=float(heading) + view_yaw,
        pitch=float(rng.normal(-0.02, 0.12 if on_foot else 0.035)),
        roll=float(rng.normal(0.0, 0.05 if on_foot else 0.015)),
        rates=rates + [bend, 0.0, 0.0],
        shake=(0.004, 0.002) if on_foot else (0.003, 0.001),
    )


def roam(scene: Scene, rng: Rng) -> Movement:
    """Return a movement along a road, at the height of anything from a small robot to a lorry, with any view."""
    road = scene.path
    assert isinstance(road, Road)
    s, reach = float(rng.uniform(8.0, road.length_m - 30.0)), road.half_width_m
    left = float(rng.uniform(-reach - 1.5, reach + 1.5))
    x, y, heading = road.at(s, left)
    low, high = np.log(HEIGHTS_M)
    height = float(np.exp(rng.uniform(low, high)))
    position = np.array([x, y, scene.ground_height(x, y)[0] + height])
    speed = float(rng.uniform(0.0, 0.3 if height < 1.0 else 1.2))
    ahead = road.at(s + max(speed, 0.05), left)
    run = np.array([ahead[0], ahead[1], scene.ground_height(ahead[0], ahead[1])[0] + height]) - position
    # Half of them look in any direction, as the cameras around a vehicle.
    view = float(rng.normal(0.0, 0.1)) if rng.random() < 0.5 else float(rng.uniform(-math.pi, math.pi))
    return Movement(
        position=position,
        velocity=run / np.linalg.norm(run) * speed,
        yaw=float(heading) + view,
        pitch=float(rng.normal(-0.06 * math.log(height / LEVEL_M), 0.09)),
        roll=float(rng.normal(0.0, 0.03)),
        rates=rng.normal(0.0, 1.0, 3) * [0.01, 0.005, 0.004] + [float(ahead[2] - heading) if speed > 0.05 else 0, 0, 0],
        shake=(0.003, 0.0015),
    )


def in_lane(scene: Scene, rng: Rng, height_m: float, jam: bool) -> tuple[Movement, float]:
    """Return the movement of a vehicle in its lane among traffic; some cameras look to a side.

    Args:
        scene: scene with a road.
        rng: random generator.
        height_m: height of the camera above the road; 0: random, as of a car, a van or a lorry.
        jam: whether the vehicle is in a traffic jam, and so slow.

    Returns:
        The movement, and its start as a distance along the road in metres.
    """
    road = scene.path
    assert isinstance(road, Road)
    s = float(rng.uniform(8.0, road.length_m - 60.0))
    # The camera is not exactly in the middle of the lane, because vehicles and drivers differ.
    left = camera_lane_m(road) + float(rng.normal(0.0, 0.5 if jam else 0.2))
    height = height_m * float(np.exp(rng.normal(0.0, 0.01))) if height_m > 0 else float(rng.uniform(1.1, 2.6))
    speed = float(rng.uniform(0.0, 0.6) if jam else rng.uniform(0.0, 1.7))
    (x, y, heading), ahead = road.at(s, left), road.at(s + max(speed, 0.05), left)
    position = np.array([x, y, scene.ground_height(x, y)[0] + height])
    run = np.array([ahead[0], ahead[1], scene.ground_height(ahead[0], ahead[1])[0] + height]) - position
    sideways = rng.random() < 0.25
    view = float(rng.uniform(-1.6, 1.6)) if sideways else float(rng.normal(0.0, 0.06))
    slope = math.atan2(run[2], float(np.hypot(*run[:2])))
    tilt = 0.008 if height_m > 0 else 0.035
    return Movement(
        position=position,
        velocity=run / np.linalg.norm(run) * speed,
        yaw=float(heading) + view,
        pitch=slope * math.cos(view) + float(rng.normal(0.0, tilt)),
        roll=float(rng.normal(0.0, 0.5 * tilt)) + slope * math.sin(view),
        rates=rng.normal(0.0, 1.0, 3) * [0.004, 0.003, 0.002]
        + [float(ahead[2] - heading) if speed > 0.05 else 0, 0, 0],
        shake=(0.003, 0.001),
    ), s


def lean(scene: Scene, rng: Rng) -> Movement:
    """Return the movement of a camera held 0.3 to 1.1 m from objects on a desk or in shelves."""
    top = scene.path
    assert isinstance(top, Worktop) and top.facing_rad is not None
    focus = rng.uniform(top.focus_low, top.focus_high)
    distance = float(np.exp(rng.uniform(*np.log(CLOSE_M))))
    around = top.facing_rad + math.pi + float(np.clip(rng.normal(0.0, 0.45), -1.1, 1.1))
    above = float(rng.uniform(0.1, 1.1) if focus[2] < top.low[2] else rng.uniform(-0.4, 0.5))
    away = np.array([math.cos(above) * math.cos(around), math.cos(above) * math.sin(around), math.sin(above)])
    direction = rng.normal(0.0, 1.0, 3)
    turning = float(rng.choice([0.005, 0.015, 0.04]))
    return Movement(
        position=focus + distance * away,
        velocity=direction / np.linalg.norm(direction) * distance * float(rng.uniform(0.0, 0.06)),
        yaw=around + math.pi + float(rng.normal(0.0, 0.12)),
        pitch=-above + float(rng.normal(0.0, 0.1)),
        roll=float(rng.normal(0.0, 0.12)),
        rates=rng.normal(0.0, 1.0, 3) * [turning, 0.6 * turning, 0.4 * turning],
        shake=(0.002, 0.002),
    )


def hold(scene: Scene, rng: Rng) -> Movement:
    """Return the movement of a camera in a hand, on a robot or a drone, in or slightly outside a room's free space."""
    free = scene.path
    assert isinstance(free, FreeSpace)
    low, high = np.array(free.low), np.array(free.high)
    middle, reach = 0.5 * (low + high), 0.5 * (high - low)
    position = middle + reach * rng.uniform(-1.25, 1.25, 3)
    direction = rng.normal(0.0, 1.0, 3) * [1.0, 1.0, 0.4]
    yaw = float(rng.uniform(-math.pi, math.pi))
    if free.facing_rad is not None and rng.random() < 0.8:
        yaw = free.facing_rad + float(rng.normal(0.0, 0.5))
    if rng.random() < 0.4:  # straight ahead, as a robot
        direction = np.array([math.cos(yaw), math.sin(yaw), 0.0])
    turning = float(rng.choice([0.005, 0.015, 0.04]))
    return Movement(
        position=position,
        velocity=direction / np.linalg.norm(direction) * float(rng.uniform(0.0, 0.12)),
        yaw=yaw,
        pitch=float(rng.normal(-0.2, 0.25)),
        roll=float(rng.normal(0.0, 0.08)),
        rates=rng.normal(0.0, 1.0, 3) * [turning, 0.6 * turning, 0.4 * turning],
        shake=(0.003, 0.002),
    )
