"""The pose of the camera over time: a scene's own path or a turn on the spot, with pauses in which it stands still."""

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

#: Integration step of the path's time, which slows down before a stop, seconds.
STEP_S = 0.005

#: Time intervals, (first, last) in seconds.
Stretches = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class TurnStyle:
    """A turn on the spot, in which the camera's centre does not move.

    Attributes:
        rate_radps: angular speed about the vertical, rad/s; with ``all_axes`` the typical speed about each axis.
        all_axes: swing to and fro about all three axes, as in a hand, instead of a continuous turn about one axis.
        place_s: time on the scene's own path that gives the camera's position, seconds. It should be above 0 on a
            road, because there is nothing behind the start of a road.
    """

    rate_radps: float = 0.5
    all_axes: bool = False
    place_s: float = 8.0


@dataclass(frozen=True)
class Motion:
    """Changes to the motion on the scene's own path. Defaults change nothing.

    Attributes:
        turn: turn on the spot at one position of the path, instead of following it.
        stands: (from, to) seconds in which the camera stands still, in ascending order and without overlap. It brakes
            for ``ramp_s`` before each interval and accelerates for ``ramp_s`` after it.
        ramp_s: time to brake or to accelerate, seconds.
    """

    turn: TurnStyle | None = None
    stands: Stretches = ()
    ramp_s: float = 1.0

    def __post_init__(self) -> None:
        edges = [edge for stretch in self.stands for edge in stretch]
        if self.ramp_s <= 0 or any(b <= a for a, b in pairwise(edges)):
            raise ConfigError(
                f"the motion has stands {self.stands} and ramp_s {self.ramp_s}; expected (from, to) seconds that "
                "ascend, and a ramp above 0"
            )


def stop_and_go(duration_s: float, seed: int, go_s: float = 3.0, stand_s: float = 2.0) -> Motion:
    """Return a motion that stops and starts repeatedly.

    Args:
        duration_s: duration of the recording, seconds.
        seed: random seed of the stops.
        go_s: typical time between two stops, including the ramps, seconds.
        stand_s: typical duration of a stop, seconds.
    """
    rng, stands, at = np.random.default_rng([seed, 71]), [], 0.5 * go_s
    while at < duration_s:
        end = at + stand_s * float(rng.uniform(0.6, 1.4))
        stands.append((at, end))
        at = end + go_s * float(rng.uniform(0.7, 1.3))
    return Motion(stands=tuple(stands), ramp_s=min(1.0, 0.3 * go_s))


class CameraPath:
    """The pose of the camera as a function of time.

    The path is extrapolated to times before its start, so that rows exposed before the first stamp have poses.

    Args:
        scene: the scene in which the camera moves.
        driving: style of the motion in scenes with a road.
        holding: style of the motion in other scenes.
        seed: random seed of the scene's own path.
        motion: changes to that path.
    """

    def __init__(self, scene: Scene, driving: DriveStyle, holding: HandStyle, seed: int, motion: Motion) -> None:
        self._scene, self._driving, self._holding = scene, driving, holding
        self._seed, self._motion = seed, motion

    def poses(self, seconds: Vector) -> list[Vector]:
        """Return one (4, 4) ``T_world_camera`` per time; ``seconds`` must ascend."""
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
        """Return the camera's distance (m) along the scene's road per time; ``seconds`` must ascend."""
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
        """Return the time (s) on the path without stops: it runs with the clock, except while the camera stands."""
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
