"""Trajectories of the camera: a drive along a road, or a hand-held camera. Poses are exact, in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.simulation.render.scene import Scene, turn
from featdepth_ros.simulation.scenes.road import Road
from featdepth_ros.simulation.scenes.room import FreeSpace

Vector = NDArray[np.float64]

#: Rotation from optical axes to body axes.
R_BODY_OPTICAL = se3.T_BODY_OPTICAL[:3, :3]
STEP_S = 0.02


@dataclass(frozen=True)
class DriveStyle:
    """Settings of a drive.

    Attributes:
        speed_mps: slowest and fastest cruising speed, m/s.
        height_m: height of the camera above the road.
        pitch_rad: pitch of the camera's mounting, positive downwards.
        jitter: strength of the body's vibration; 1 is a car on a town road.
        stops: stops per minute.
    """

    speed_mps: tuple[float, float] = (5.0, 14.0)
    height_m: float = 1.65
    pitch_rad: float = 0.0
    jitter: float = 1.0
    stops: float = 0.8


@dataclass(frozen=True)
class HandStyle:
    """Settings of a hand-held camera: typical speed (m/s), and amount of rotation (1: it looks all around)."""

    speed_mps: float = 0.35
    turning: float = 1.0


def _sway(rng: np.random.Generator, t: Vector, low_hz: float, high_hz: float, count: int = 4) -> Vector:
    """Return a smooth random curve over ``t`` (s) with a standard deviation near 1."""
    total = np.zeros_like(t)
    for _ in range(count):
        total += np.sin(2 * math.pi * (rng.uniform(low_hz, high_hz) * t + rng.uniform()))
    return total * math.sqrt(2.0 / count)


def drive(scene: Scene, stamps_s: Vector, style: DriveStyle, seed: int) -> list[Vector]:
    """Drive along the scene's road.

    Returns one ``T_world_camera`` per stamp; additional later stamps do not change the earlier poses.
    """
    road = scene.path
    assert isinstance(road, Road)
    rng = np.random.default_rng([seed, 31])
    lane = camera_lane_m(road)
    steps = np.arange(0.0, stamps_s[-1] + 2 * STEP_S, STEP_S)
    distance, speed = _progress(road, steps, style, np.random.default_rng([seed, 32]))
    wander = 0.15 * _sway(rng, distance, 0.004, 0.02)
    shake = [style.jitter * _sway(rng, steps, 0.5, 2.2) * np.minimum(speed / 6.0, 1.0) for _ in range(4)]
    out = []
    for t in stamps_s:
        s, left = float(np.interp(t, steps, distance)), float(np.interp(t, steps, wander)) + lane
        # The mean heading over a wheelbase, because a car's yaw rate does not jump where an arc begins.
        near = road.at(s + np.linspace(-4.0, 4.0, 17), left).mean(axis=0)
        up, pitch, roll, yaw = (float(np.interp(t, steps, v)) for v in shake)
        height, slope_x, slope_y = scene.ground_height(near[0], near[1])
        heading = near[2] + 0.002 * yaw
        ahead = slope_x * math.cos(heading) + slope_y * math.sin(heading)
        across = -slope_x * math.sin(heading) + slope_y * math.cos(heading)
        body = turn(heading, style.pitch_rad - math.atan(ahead) + 0.004 * pitch, math.atan(across) + 0.004 * roll)
        out.append(se3.make(body @ R_BODY_OPTICAL, np.array([near[0], near[1], height + style.height_m + 0.012 * up])))
    return out


def camera_lane_m(road: Road) -> float:
    """Return the camera's offset to the left of the centreline (m); traffic keeps to the right."""
    return -min(1.8, max(road.half_width_m - 3.15, 0.0))


def distance_driven(road: Road, stamps_s: Vector, style: DriveStyle, seed: int) -> Vector:
    """Return the distance of `drive` along the road (m) at each stamp; stamps (s) ascend from 0."""
    steps = np.arange(0.0, stamps_s[-1] + 2 * STEP_S, STEP_S)
    distance, _ = _progress(road, steps, style, np.random.default_rng([seed, 32]))
    return np.interp(stamps_s, steps, distance)


def _progress(road: Road, steps: Vector, style: DriveStyle, rng: np.random.Generator) -> tuple[Vector, Vector]:
    """Return distance (m) along the road and speed (m/s) at every step, with smooth stops and slow bends."""
    phases = rng.uniform(0, 1, 3)
    low, high = style.speed_mps
    next_stop, stop_until = float(rng.exponential(60.0 / max(style.stops, 1e-6))) + 4.0, -1.0
    s, v = 12.0, float(rng.uniform(low, high))
    ends = road.arcs[:, 5] + road.arcs[:, 4]
    distance, speed = np.empty_like(steps), np.empty_like(steps)
    for n, t in enumerate(steps):
        swing = np.mean([math.sin(2 * math.pi * (t / p + q)) for p, q in zip((17.0, 29.0, 41.0), phases, strict=True)])
        target = low + (high - low) * (0.5 + 0.5 * float(np.clip(1.6 * swing, -1.0, 1.0)))
        first = int(np.searchsorted(ends, s))
        last = int(np.searchsorted(ends, s + 0.8 * v + 4.0))
        bend = float(np.abs(road.arcs[first : min(last, len(ends) - 1) + 1, 3]).max(initial=1e-4))
        target = min(target, math.sqrt(2.2 / bend))
        if t >= next_stop:
            stop_until = t + float(rng.uniform(4.0, 8.0))
            next_stop = stop_until + float(rng.exponential(60.0 / max(style.stops, 1e-6)))
        if t < stop_until:
            target = 0.0
        v += float(np.clip(target - v, -3.0 * STEP_S, 1.8 * STEP_S))
        distance[n], speed[n] = s, v
        s += v * STEP_S
    return distance, speed


def hand_held(scene: Scene, stamps_s: Vector, style: HandStyle, seed: int) -> list[Vector]:
    """Move through a room's free space with six degrees of freedom. Returns one ``T_world_camera`` per stamp."""
    free = scene.path
    assert isinstance(free, FreeSpace)
    rng = np.random.default_rng([seed, 33])
    low, high = np.array(free.low), np.array(free.high)
    middle, reach = 0.5 * (low + high), 0.5 * (high - low)
    # The rate of the motion follows from the speed: a sine of amplitude a and rate f moves at 2 pi a f / sqrt(2) rms.
    rate = style.speed_mps / (2 * math.pi * 0.45 * float(np.hypot(reach[0], reach[1])))
    place = np.stack([np.tanh(0.8 * _sway(rng, stamps_s, 0.5 * rate, 1.4 * rate)) for _ in range(3)], axis=1)
    anywhere = free.facing_rad is None
    start = rng.uniform(0, 2 * math.pi) if free.facing_rad is None else free.facing_rad
    yaw = start + style.turning * (1.5 if anywhere else 0.3) * _sway(rng, stamps_s, 0.02, 0.09)
    pitch = 0.12 + 0.12 * _sway(rng, stamps_s, 0.05, 0.2)
    roll = 0.05 * _sway(rng, stamps_s, 0.1, 0.4)
    tremor = 0.003 * np.stack([_sway(rng, stamps_s, 1.0, 3.0) for _ in range(3)], axis=1)
    return [
        se3.make(turn(float(a), float(p), float(r)) @ R_BODY_OPTICAL, middle + reach * x + q)
        for a, p, r, x, q in zip(yaw, pitch, roll, place, tremor, strict=True)
    ]
