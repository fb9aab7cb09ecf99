"""The positions of vehicles on the lanes around the camera, and of pedestrians on the pavements, over time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.simulation.render.rolling import Tail
from featdepth_ros.simulation.render.scene import Scene, SceneBuilder, Vector, turn
from featdepth_ros.simulation.render.textures import Atlas
from featdepth_ros.simulation.scenes.large_vehicles import bus, lorry, van
from featdepth_ros.simulation.scenes.road import Road
from featdepth_ros.simulation.scenes.vehicles import parked_car
from featdepth_ros.simulation.traffic.bodies import MovingBodies
from featdepth_ros.simulation.traffic.people import person
from featdepth_ros.simulation.traffic.style import LARGE_HALF_WIDTH_M, Lane, TrafficStyle, lanes_of

STEP_S = 0.05
#: Speed below which a vehicle counts as standing, m/s; its pixels are then not marked as moving.
STANDING_MPS = 0.05
CAR_LENGTH_M, VAN_HALF_WIDTH_M = 4.8, 1.05
#: Half the width of a pedestrian, metres, and the range of walking speeds, m/s.
SHOULDER_M, WALKING_MPS = 0.3, (0.7, 1.8)
#: Distance from the camera to the front bumper of its own vehicle, metres.
BUMPER_M = 2.0
#: Distance ahead of and behind the camera within which vehicles are in the world, metres.
REACH_M = 185.0


@dataclass(frozen=True)
class _Vehicle:
    body: SceneBuilder
    lane: Lane
    length_m: float


class Traffic:
    """The traffic of a drive.

    Args:
        scene: a scene with a road and without traffic.
        style: settings of the traffic.
        seed: random seed of the traffic.
        camera_m: function from ascending times (s) to the camera's distance along the road (m).
        duration_s: duration of the drive, which begins at time 0, seconds.

    Raises:
        ConfigError: the scene has no road.

    Attributes:
        scene: the scene to render; `place` moves the vehicles in it.
    """

    def __init__(
        self, scene: Scene, style: TrafficStyle, seed: int, camera_m: Callable[[Vector], Vector], duration_s: float
    ) -> None:
        lanes = lanes_of(scene, style.jam)
        assert isinstance(scene.path, Road)
        self._road, self._atlas = scene.path, Atlas.of(scene.data.atlas)
        self._times = np.arange(-4 * STEP_S, duration_s + 6 * STEP_S, STEP_S)
        self._camera = camera_m(self._times)
        self._vehicles: list[_Vehicle] = []
        self._ways: list[Vector] = []
        for number, lane in enumerate(lanes):
            rng = np.random.default_rng([seed, 61, number])
            if lane.own or style.jam:
                self._fill_platoon(lane, style, rng)
            else:
                self._fill_stream(lane, style, rng)
        for side in (1, -1) if style.people > 0 else ():
            self._fill_pavement(side, style.people, np.random.default_rng([seed, 62, side + 1]))
        self._bodies = MovingBodies(scene, [v.body for v in self._vehicles]) if self._vehicles else None
        self.scene = self._bodies.scene if self._bodies else scene

    def place(self, seconds: float) -> None:
        """Move all vehicles and pedestrians, with their shadows, to their poses at a time."""
        if self._bodies is not None:
            seen = self._seen(seconds)
            self._bodies.place(self._poses(seconds, seen), seen)

    def rows(self, middle_s: float, first_s: float, last_s: float) -> tuple[Tail, Tail] | None:
        """Return the argument ``moved`` of `RollingRenderer.render_rows` for an image with these exposure times."""
        if self._bodies is None:
            return None
        seen = self._seen(middle_s)
        first, last = (self._bodies.placed(self._poses(t, seen), seen) for t in (first_s, last_s))
        return first, last

    def moving(self, surfaces: NDArray[np.int32], seconds: float) -> NDArray[np.bool_]:
        """Return the (H, W) bool mask of what moves at a time; ``surfaces`` come from the renderer."""
        if self._bodies is None:
            return np.zeros(surfaces.shape, np.bool_)
        before, after = self._along(seconds - STEP_S), self._along(seconds + STEP_S)
        drives = np.append(np.abs(after - before) > STANDING_MPS * 2 * STEP_S, False)
        mask: NDArray[np.bool_] = drives[self._bodies.body_of(surfaces)]
        return mask

    def _along(self, seconds: float) -> Vector:
        """Return the (B,) distances of the vehicles' middles along the road, metres."""
        at = min(max((seconds - self._times[0]) / STEP_S, 0.0), len(self._times) - 1.001)
        k, share = int(at), at - int(at)
        return np.array([(1.0 - share) * way[k] + share * way[k + 1] for way in self._ways])

    def _seen(self, seconds: float) -> NDArray[np.bool_]:
        along = self._along(seconds)
        camera = float(np.interp(seconds, self._times, self._camera))
        seen: NDArray[np.bool_] = (np.abs(along - camera) < REACH_M) & (along > -60.0)
        return seen & (along < self._road.length_m - 3.0)

    def _poses(self, seconds: float, seen: NDArray[np.bool_]) -> Vector:
        """Return the (B, 4, 4) pose of each vehicle in ``seen``, with both axles on the ground."""
        poses = np.tile(np.eye(4), (len(self._vehicles), 1, 1))
        along, scene = self._along(seconds), self.scene
        for i in np.flatnonzero(seen):
            lane, axle = self._vehicles[i].lane, 0.3 * self._vehicles[i].length_m
            reach = axle if lane.along else -axle
            (x0, y0, _), (x1, y1, _) = self._road.at(along[i] + np.array([-reach, reach]), lane.left_m)
            z0, z1 = scene.ground_height(x0, y0)[0], scene.ground_height(x1, y1)[0]
            heading = math.atan2(y1 - y0, x1 - x0)
            x, y = 0.5 * (x0 + x1), 0.5 * (y0 + y1)
            _, slope_x, slope_y = scene.ground_height(x, y)
            across = math.atan(slope_y * math.cos(heading) - slope_x * math.sin(heading))
            pitch = -math.atan2(z1 - z0, 2.0 * axle)
            poses[i] = se3.make(turn(heading, pitch, across), [x, y, 0.5 * (z0 + z1)])
        return poses

    def _fill_platoon(self, lane: Lane, style: TrafficStyle, rng: np.random.Generator) -> None:
        """Add vehicles that move with the camera: a queue ahead of it in its own lane, or a slow one beside it."""
        size, period = (1.0, 30.0) if lane.own else (float(rng.uniform(3.0, 6.0)), float(rng.uniform(20.0, 45.0)))
        swing = size * np.sin(2 * math.pi * (self._times / period + rng.uniform()))
        if not style.jam:
            swing = 3.0 * swing
        at = BUMPER_M + (float(rng.uniform(3.0, 7.0) if style.jam else rng.uniform(14.0, 30.0)) if lane.own else -50.0)
        at += 0.0 if not lane.own else size  # the oscillation must not push the next vehicle into the camera
        while at < 100.0 and style.along > 0:
            vehicle = self._draw(lane, style, rng)
            wish = self._camera + at + 0.5 * vehicle.length_m + swing
            self._add(vehicle, self._follow(wish))
            at += vehicle.length_m + self._gap(vehicle, style.along, rng)

    def _fill_stream(self, lane: Lane, style: TrafficStyle, rng: np.random.Generator) -> None:
        """Add vehicles with a constant speed, along the whole road and for the whole duration."""
        density = style.along if lane.along else style.against
        speed = float(rng.uniform(*style.speed_mps))
        before, after = (speed * self._times[-1], 0.0) if lane.along else (0.0, speed * self._times[-1])
        at = -60.0
        while density > 0 and at < self._road.length_m + after:
            vehicle = self._draw(lane, style, rng)
            self._add(vehicle, at + 0.5 * vehicle.length_m + (speed if lane.along else -speed) * self._times)
            at += vehicle.length_m + self._gap(vehicle, density, rng)
        at = -60.0
        while density > 0 and at > -60.0 - before:
            vehicle = self._draw(lane, style, rng)
            at -= vehicle.length_m + self._gap(vehicle, density, rng)
            self._add(vehicle, at + 0.5 * vehicle.length_m + speed * self._times)

    def _fill_pavement(self, side: int, density: float, rng: np.random.Generator) -> None:
        """Add pedestrians on one pavement (1: left, -1: right) in both directions, with one speed per direction."""
        for along, left in ((True, rng.uniform(0.4, 1.0)), (False, rng.uniform(1.3, 2.0))):
            lane = Lane(side * (self._road.half_width_m + float(left)), along, False, SHOULDER_M)
            pace = float(rng.uniform(*WALKING_MPS)) * (1.0 if along else -1.0)
            at = -20.0 + float(rng.exponential(10.0))
            while at < self._road.length_m:
                body = SceneBuilder("person", 0, self._atlas)
                person(body, rng, np.zeros(3), np.eye(3))
                self._add(_Vehicle(body, lane, 2 * SHOULDER_M), at + pace * self._times)
                at += 1.0 + float(rng.exponential(max(100.0 / density - 1.0, 0.5)))

    def _add(self, vehicle: _Vehicle, way: Vector) -> None:
        self._vehicles.append(vehicle)
        self._ways.append(way)

    def _follow(self, wish: Vector) -> Vector:
        """Return the distances (m) of a driver who follows the wished ones at each step, but never drives backwards."""
        way, pace = np.empty_like(wish), np.gradient(self._camera, STEP_S)
        way[0] = wish[0]
        for k in range(1, len(wish)):
            speed = max(pace[k - 1] + 0.8 * (wish[k - 1] - way[k - 1]), 0.0)
            way[k] = way[k - 1] + STEP_S * min(speed, pace[k - 1] + 3.0)
        return way

    @staticmethod
    def _gap(vehicle: _Vehicle, density: float, rng: np.random.Generator) -> float:
        least = 2.0
        return least + float(rng.exponential(max(100.0 / density - vehicle.length_m - least, 0.5)))

    def _draw(self, lane: Lane, style: TrafficStyle, rng: np.random.Generator) -> _Vehicle:
        """Return a random vehicle that fits into a lane."""
        body, origin, axes = SceneBuilder("vehicle", 0, self._atlas), np.zeros(3), np.eye(3)
        kind = str(rng.choice(["lorry", "bus", "van"], p=[0.6, 0.2, 0.2])) if rng.random() < style.large else "car"
        if lane.half_width_m < LARGE_HALF_WIDTH_M and kind in ("lorry", "bus"):
            kind = "van"
        if lane.half_width_m < VAN_HALF_WIDTH_M and kind == "van":
            kind = "car"
        if kind == "car":
            parked_car(body, rng, origin, axes)
            return _Vehicle(body, lane, CAR_LENGTH_M)
        return _Vehicle(body, lane, {"lorry": lorry, "bus": bus, "van": van}[kind](body, rng, origin, axes))
