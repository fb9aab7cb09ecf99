"""The kinds of scene that can be rendered for training: how long a road to build, how a camera moves in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from featdepth_ros.simulation.render.scene import Scene
from featdepth_ros.simulation.simulate import make_scene
from featdepth_training.rendering.viewpoints import Movement, drive, hold, walk


@dataclass(frozen=True)
class SceneKind:
    """A kind of scene.

    Attributes:
        name: as `featdepth_ros.simulation.simulate.make_scene` knows it.
        move: scene and generator -> movement of one clip.
        focal_px: range of focal lengths, pixels at a width of 640.
        length_m: of the road, for kinds that have one.
        cars: whether cars drive there, whose camera can be at a known height.
    """

    name: str
    move: Callable[[Scene, np.random.Generator], Movement]
    focal_px: tuple[float, float]
    length_m: float = 0.0
    cars: bool = False

    def make(self, seed: int) -> Scene:
        """Build one."""
        return make_scene(self.name, seed, self.length_m)


SCENES: dict[str, SceneKind] = {
    kind.name: kind
    for kind in (
        SceneKind("street", drive, (270.0, 620.0), length_m=180.0, cars=True),
        SceneKind("avenue", drive, (270.0, 620.0), length_m=180.0, cars=True),
        SceneKind("lane", drive, (270.0, 620.0), length_m=180.0, cars=True),
        SceneKind("room", hold, (200.0, 470.0)),
        SceneKind("clutter", walk, (250.0, 600.0), length_m=120.0),
        SceneKind("corridor", hold, (250.0, 600.0)),
        SceneKind("textureless", hold, (200.0, 470.0)),
    )
}
