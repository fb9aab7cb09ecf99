"""A random view of a scene: the camera, its motion, and the traffic around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featdepth_ros.geometry.cameras import CameraModel
from featdepth_ros.simulation.render.scene import Scene
from featdepth_ros.simulation.traffic.style import TrafficStyle
from featdepth_ros.simulation.traffic.traffic import Traffic
from featdepth_training.config.data_schema import RenderedConfig
from featdepth_training.rendering.scenes import SceneKind
from featdepth_training.rendering.viewpoints import Movement, Poses, draw_camera, in_lane, ride, roam

#: Time between two frames of a clip, seconds; movements are defined per frame.
FRAME_S = 0.1
#: Focal lengths of wide lenses, pixels at a width of 640: 100 to 130 degrees.
WIDE_FOCAL_PX = (150.0, 270.0)
#: Share of traffic jams among the clips with traffic.
JAMS = 0.55
#: Largest distance by which the camera in a jam is ahead of a car's camera, metres: up to the next vehicle's bumper.
NOSE_M = 4.6


@dataclass(frozen=True)
class View:
    """A camera in a scene.

    Attributes:
        scene: the scene to render.
        camera: the camera.
        poses: (F, 4, 4) T_world_camera.
        traffic: the traffic in the scene; None: no traffic.
    """

    scene: Scene
    camera: CameraModel
    poses: Poses
    traffic: Traffic | None


@dataclass(frozen=True)
class Wishes:
    """Random choices for a clip that do not depend on its viewpoint.

    Attributes:
        traffic: whether there are moving vehicles and pedestrians.
        roams: whether the camera is at a random height and position.
        wide: whether the lens is wide.
    """

    traffic: bool
    roams: bool
    wide: bool


def draw_wishes(rng: np.random.Generator, config: RenderedConfig, kind: SceneKind) -> Wishes:
    """Return random choices by the shares of the configuration."""
    draws = rng.random(3)
    return Wishes(
        traffic=kind.cars and bool(draws[0] < config.traffic),
        roams=kind.cars and bool(draws[1] < config.other_heights),
        wide=bool(draws[2] < config.wide_lenses),
    )


def draw_view(rng: np.random.Generator, scene: Scene, kind: SceneKind, config: RenderedConfig, wishes: Wishes) -> View:
    """Return a random camera with its path and the traffic around it."""
    focal_px = WIDE_FOCAL_PX if wishes.wide else kind.focal_px
    low, high = (f * config.width / 640 for f in focal_px)
    camera = draw_camera(rng, config.height, config.width, (low, high))
    traffic: Traffic | None = None
    if wishes.traffic:
        movement, traffic = _among_traffic(rng, scene, 0.0 if wishes.roams else config.camera_height_m, config.frames)
    elif wishes.roams:
        movement = roam(scene, rng)
    elif kind.cars and config.camera_height_m > 0:
        movement = ride(scene, rng, config.camera_height_m)
    else:
        movement = kind.move(scene, rng)
    poses = movement.poses(config.frames, rng)
    return View(scene if traffic is None else traffic.scene, camera, poses, traffic)


def _among_traffic(rng: np.random.Generator, scene: Scene, height_m: float, frames: int) -> tuple[Movement, Traffic]:
    jam = bool(rng.random() < JAMS)
    movement, start = in_lane(scene, rng, height_m, jam)
    speed = float(np.linalg.norm(movement.velocity)) / FRAME_S
    if jam:
        along, large = float(rng.uniform(4.0, 9.0)), float(rng.uniform(0.3, 0.95))
        start -= float(rng.uniform(0.0, NOSE_M))
        style = TrafficStyle(along=along, large=large, jam=True, people=float(rng.uniform(0.0, 5.0)))
    else:
        along, against, large, people = rng.uniform([0.5, 0.5, 0.1, 0.0], [4.0, 5.0, 0.7, 12.0]).tolist()
        style = TrafficStyle(along=along, against=against, large=large, people=people)
    duration_s = FRAME_S * (frames - 1)
    return movement, Traffic(scene, style, int(rng.integers(2**31)), lambda t: start + speed * t, duration_s)
