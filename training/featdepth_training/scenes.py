"""The kinds of scene that can be rendered for training: how to build one, how a camera moves in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from featdepth_ros.simulation.room import make_corridor, make_room
from featdepth_ros.simulation.scene import Scene
from featdepth_ros.simulation.street import make_clutter, make_street
from featdepth_training.viewpoints import Movement, drive, hold, walk


@dataclass(frozen=True)
class SceneKind:
    """A kind of scene.

    Attributes:
        make: seed -> scene.
        move: scene and generator -> movement of one clip.
        focal_px: range of focal lengths, pixels at a width of 640.
    """

    make: Callable[[int], Scene]
    move: Callable[[Scene, np.random.Generator], Movement]
    focal_px: tuple[float, float]


SCENES: dict[str, SceneKind] = {
    "clutter": SceneKind(lambda seed: make_clutter(seed, 120.0), walk, (250.0, 600.0)),
    "corridor": SceneKind(make_corridor, hold, (250.0, 600.0)),
    "room": SceneKind(make_room, hold, (200.0, 470.0)),
    "street": SceneKind(lambda seed: make_street(seed, 180.0), drive, (270.0, 620.0)),
}
