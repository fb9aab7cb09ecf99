"""Where the camera is at any time: a scene's own path, or a turn on the spot, with stretches of standing still."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from featdepth_ros.errors import ConfigError
from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.simulation.render.scene import Scene, Vector, turn
from featdepth_ros.simulation.scenes.road import Road
from featdepth_ros.simulation.trajectories import (
    R_BODY_OPTICAL,
    DriveStyle,
    HandStyle,
    distance_driven,
    drive,
    hand_held,
)

#: Step of the integral that slows the time of a path down, seconds.
STEP_S = 0.005

#: Stretches of time (s): (first, last) of each.
Stretches = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class TurnStyle:
    """A turn on the spot: the camera's centre does not move at all.

    Attributes:
        rate_radps: angular speed about the vertical; with ``all_axes`` the typical speed about each axis.
        all_axes: swing about all three axes to and fro, as a hand does, instead of turning on and on about one.
        place_s: it stands where the scene's own path is after so many seconds. Nothing lies behind a road's start.
    """

    rate_radps: float = 0.5
    all_axes: bool = False
    place_s: float = 8.0


@dataclass(frozen=True)
class Motion:
    """How the camera's motion differs from the scene's own path. Defaults change nothing.

    Attributes:
        turn: turn on the spot instead, at one place of the path.
        stands: (from, to) seconds in which the camera stands still, in order and apart. It comes to rest before and
            starts after it, ``ramp_s`` each.
        ramp_s: how long it takes to slow down or to gather speed.
    """

    turn: TurnStyle | None = None
    stands: Stretches = ()
    ramp_s: float = 1.0

    def __post_init__(self) -> None:
        edges = [edge for stretch in self.stands for edge in stretch]
        if self.ramp_s <= 0 or any(b <= a for a, b in pairwise(edges)):
            raise ConfigError(
                f"the motion stands in {self.stands} with ramps of {self.ramp_s} s; expected (from, to) seconds that "
                "ascend and a ramp above 0"
            )


def stop_and_go(duration_s: float, seed: int, go_s: float = 3.0, stand_s: float = 2.0) -> Motion:
    """Return a motion that stops and goes all the time.

    Args:
        duration_s: of the recording.
        seed: decides the stretches.
        go_s: typical time from one stop to the next, ramps included.
        stand_s: typical time of standing.
    """
    rng, stands, at = np.random.default_rng([seed, 71]), [], 0.5 * go_s
    while at < duration_s:
        end = at + stand_s * float(rng.uniform(0.6, 1.4))
        stands.append((at, end))
        at = end + go_s * float(rng.uniform(0.7, 1.3))
    return Motion(stands=tuple(stands), ramp_s=min(1.0, 0.3 * go_s))


class CameraPath:
    """The pose of the camera as a function of time.

    Before its start the path goes on backwards as it begins, so that rows exposed before the first stamp have poses.

    Args:
        scene: where.
        driving: the motion in scenes with a road.
        holding: the motion in the others.
        seed: decides the scene's own path.
        motion: how the camera's motion differs from it.
    """

    def __init__(self, scene: Scene, driving: DriveStyle, holding: HandStyle, seed: int, motion: Motion) -> None:
        self._scene, self._driving, self._holding = scene, driving, holding
        self._seed, self._motion = seed, motion

    def poses(self, seconds: Vector) -> list[Vector]:
        """Return one ``T_world_camera``, (4, 4), a time; times ascend."""
        times = self._own_time(np.asarray(seconds, float))
        if not (times < 0).any():
            return self._follow(times)
        order = np.argsort(np.abs(times), kind="stable")
        followed = self._follow(np.concatenate([[0.0], np.abs(times)[order]]))
        start = followed[0]
        out: list[Vector] = [start] * len(times)
        for place, pose in zip(order, followed[1:], strict=True):
            out[place] = start @ se3.inverse(pose) @ start if times[place] < 0 else pose
        return out

    def along_m(self, seconds: Vector) -> Vector:
        """Return how far along the scene's road (m) the camera is; times ascend."""
        road, times = self._scene.path, np.maximum(self._own_time(np.asarray(seconds, float)), 0.0)
        assert isinstance(road, Road)
        if self._motion.turn is not None:
            times = np.full_like(times, self._motion.turn.place_s)
        return distance_driven(road, times, self._driving, self._seed)

    def _follow(self, times: Vector) -> list[Vector]:
        style = self._motion.turn
        if style is None:
            return self._scene_path(times)
        start = self._scene_path(np.array([style.place_s]))[0]
        return [se3.make(_turned(style, float(t), start[:3, :3]), start[:3, 3]) for t in times]

    def _scene_path(self, times: Vector) -> list[Vector]:
        if isinstance(self._scene.path, Road):
            return drive(self._scene, times, self._driving, self._seed)
        return hand_held(self._scene, times, self._holding, self._seed)

    def _own_time(self, seconds: Vector) -> Vector:
        """Return the time on the undisturbed path: it passes as the clock does, but for stretches of standing still."""
        if not self._motion.stands:
            return seconds
        steps = np.arange(0.0, max(float(seconds.max()), 0.0) + 2 * STEP_S, STEP_S)
        pace = np.ones_like(steps)
        for first, last in self._motion.stands:
            away = np.maximum(np.maximum(first - steps, steps - last), 0.0) / self._motion.ramp_s
            ramp = np.minimum(away, 1.0)
            pace = np.minimum(pace, ramp * ramp * (3.0 - 2.0 * ramp))
        passed = np.concatenate([[0.0], np.cumsum(0.5 * (pace[1:] + pace[:-1]) * STEP_S)])
        early = np.minimum(seconds, 0.0) * pace[0]
        path_seconds: Vector = np.interp(seconds, steps, passed) + early
        return path_seconds


def _turned(style: TurnStyle, t: float, start: Vector) -> Vector:
    """Return the camera's rotation in the world after ``t`` seconds."""
    if not style.all_axes:
        return turn(style.rate_radps * t) @ start
    # A sine of amplitude a and period p turns at 2 pi a / p at most; its typical speed is 0.7 of that.
    yaw, pitch, roll = (
        style.rate_radps * period / (2 * math.pi * 0.707) * math.sin(2 * math.pi * t / period)
        for period in (3.1, 2.3, 1.9)
    )
    body = start @ R_BODY_OPTICAL.T
    return body @ turn(yaw, pitch, roll) @ R_BODY_OPTICAL
