"""The kinds of scene for training, with the length of their road and the motion of the camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from featdepth_ros.simulation.render.scene import Scene
from featdepth_ros.simulation.simulate import make_scene
from featdepth_training.rendering.viewpoints import Movement, drive, hold, lean, walk


@dataclass(frozen=True)
class SceneKind:
    """A kind of scene.

    Attributes:
        name: name in `featdepth_ros.simulation.simulate.make_scene`.
        move: function from scene and random generator to the movement in one clip.
        focal_px: range of focal lengths, pixels at a width of 640.
        length_m: length of the road, for kinds with a road.
        cars: whether it has a road for cars; only then can there be traffic and a known camera height.
        outdoors: whether it has sky and weather.
    """

    name: str
    move: Callable[[Scene, np.random.Generator], Movement]
    focal_px: tuple[float, float]
    length_m: float = 0.0
    cars: bool = False
    outdoors: bool = False

    def make(self, seed: int) -> Scene:
        """Build a scene of this kind."""
        return make_scene(self.name, seed, self.length_m)


ROAD: dict[str, Any] = {"focal_px": (270.0, 620.0), "length_m": 180.0, "cars": True, "outdoors": True}

SCENES: dict[str, SceneKind] = {
    kind.name: kind
    for kind in (
        SceneKind("street", drive, **ROAD),
        SceneKind("avenue", drive, **ROAD),
        SceneKind("lane", drive, **ROAD),
        SceneKind("highway", drive, **ROAD),
        SceneKind("underpass", drive, **ROAD),
        SceneKind("hills", drive, **ROAD),
        SceneKind("room", hold, (200.0, 470.0)),
        SceneKind("desk", lean, (250.0, 600.0)),
        SceneKind("clutter", walk, (250.0, 600.0), length_m=120.0, outdoors=True),
        SceneKind("corridor", hold, (250.0, 600.0)),
        SceneKind("textureless", hold, (200.0, 470.0)),
    )
}
