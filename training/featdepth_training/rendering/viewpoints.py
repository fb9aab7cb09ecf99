"""Cameras and short paths through rendered scenes, as varied as the cameras of the people who will use the networks."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.simulation.render.scene import Scene
from featdepth_ros.simulation.scenes.road import Road
from featdepth_ros.simulation.scenes.room import FreeSpace

Rng = np.random.Generator
Poses = NDArray[np.float64]


@dataclass(frozen=True)
class Movement:
    """How a camera moves from frame to frame.

    Attributes:
        position: (3,) metres, world (z up), of the first frame.
        velocity: (3,) metres a frame, world.
        yaw, pitch, roll: radians at the first frame: left, up and right-side-down are positive.
        rates: (3,) radians a frame of yaw, pitch, roll.
        shake: standard deviations of metres and radians added to each frame.
    """

    position: NDArray[np.float64]
    velocity: NDArray[np.float64]
    yaw: float
    pitch: float
    roll: float
    rates: NDArray[np.float64]
    shake: tuple[float, float] = (0.0, 0.0)

    def poses(self, frames: int, rng: Rng) -> Poses:
        """(frames, 4, 4) T_world_camera, optical axes."""
        return np.stack([self._pose(k, rng) for k in range(frames)])

    def _pose(self, k: int, rng: Rng) -> NDArray[np.float64]:
        shift = rng.normal(0.0, 1.0, 3) * self.shake[0]
        angles = np.array([self.yaw, self.pitch, self.roll]) + k * self.rates + rng.normal(0.0, 1.0, 3) * self.shake[1]
        T_world_camera = np.eye(4)
        T_world_camera[:3, :3] = optical_axes(*angles)
        T_world_camera[:3, 3] = self.position + k * self.velocity + shift
        return T_world_camera


def optical_axes(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Columns: right, down and forward in the world (z up). Yaw turns left from +x, pitch up, roll right side down."""
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    forward = np.array([cy * cp, sy * cp, sp])
    right = np.array([sy, -cy, 0.0])
    down = np.cross(forward, right)
    c, s = math.cos(roll), math.sin(roll)
    return np.stack([c * right + s * down, c * down - s * right, forward], axis=1)


def draw_camera(rng: Rng, height: int, width: int, focal_px: tuple[float, float]) -> CameraModel:
    """A pinhole camera: focal length log-uniform in ``focal_px``, nearly square pixels, centre near the middle."""
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
    """Somebody on foot, a small robot or a drone on a path."""
    return drive(scene, rng, on_foot_share=1.0)


def ride(scene: Scene, rng: Rng, height_m: float) -> Movement:
    """A car whose camera looks level ahead, ``height_m`` above the road: always the same but for springs and load."""
    drawn = drive(scene, rng, on_foot_share=0.0)
    ground = scene.ground_height(*drawn.position[:2])[0]
    position = np.array([*drawn.position[:2], ground + height_m * float(np.exp(rng.normal(0.0, 0.01)))])
    slope = math.atan2(drawn.velocity[2], float(np.hypot(*drawn.velocity[:2])))
    pitch, roll = rng.normal(0.0, 0.008, 2).tolist()
    return dataclasses.replace(drawn, position=position, pitch=slope + pitch, roll=roll)


def drive(scene: Scene, rng: Rng, on_foot_share: float = 0.25) -> Movement:
    """A car (or, at times, somebody on foot or a small robot) on a street."""
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


def hold(scene: Scene, rng: Rng) -> Movement:
    """A camera in a hand, on a robot or a drone, anywhere in the free space of a room and a little beyond."""
    free = scene.path
    assert isinstance(free, FreeSpace)
    low, high = np.array(free.low), np.array(free.high)
    middle, reach = 0.5 * (low + high), 0.5 * (high - low)
    position = middle + reach * rng.uniform(-1.25, 1.25, 3)
    direction = rng.normal(0.0, 1.0, 3) * [1.0, 1.0, 0.4]
    yaw = float(rng.uniform(-math.pi, math.pi))
    if free.facing_rad is not None and rng.random() < 0.8:
        yaw = free.facing_rad + float(rng.normal(0.0, 0.5))
    if rng.random() < 0.4:  # straight ahead, as a robot goes
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
