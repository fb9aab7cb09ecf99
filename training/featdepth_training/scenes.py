"""The kinds of scene that can be rendered for training: how to build one, how a camera moves in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from featdepth_ros.simulation.scene import Scene
from featdepth_ros.simulation.street import make_street
from featdepth_training.viewpoints import Movement, drive


@dataclass(frozen=True)
class SceneKind:
    """Attributes: ``make``: seed -> scene; ``move``: scene and generator -> movement of one clip."""

    make: Callable[[int], Scene]
    move: Callable[[Scene, np.random.Generator], Movement]


SCENES: dict[str, SceneKind] = {
    "street": SceneKind(lambda seed: make_street(seed, 180.0), drive),
}
