"""Pedestrians."""

from __future__ import annotations

import numpy as np

from featdepth_ros.simulation.render.scene import SceneBuilder
from featdepth_ros.simulation.scenes.outdoors import Rng, Vector

SKINS = ((0.85, 0.65, 0.52), (0.6, 0.42, 0.3), (0.4, 0.27, 0.2), (0.92, 0.75, 0.65))


def person(b: SceneBuilder, rng: Rng, p: Vector, r: Vector) -> float:
    """Add a pedestrian in mid-stride, who stands on ``p`` and walks along the first axis of ``r``.

    Returns:
        Length of the stride, metres.
    """
    tall = float(rng.uniform(1.45, 1.92)) if rng.random() < 0.85 else float(rng.uniform(0.95, 1.4))
    size, stride = tall / 1.75, float(rng.uniform(0.1, 0.42)) * tall / 1.75
    top, legs = b.pick(rng, "fabric"), b.pick(rng, "fabric", "paint")
    coat, trousers = rng.uniform(0.15, 1.1, 3), rng.uniform(0.1, 0.8) * rng.uniform(0.8, 1.2, 3)
    skin, hair = np.array(SKINS[rng.integers(len(SKINS))]), rng.uniform(0.05, 0.6) * np.array([1.0, 0.8, 0.6])
    plain = b.pick(rng, "paint")

    def at(x: float, y: float, z: float) -> Vector:
        place: Vector = p + r @ (size * np.array([x, y, z]))
        return place

    for side in (-1.0, 1.0):
        reach = side * 0.5 * stride / size
        b.cone(at(reach, side * 0.1, 0.03), at(0.0, side * 0.1, 0.86), 0.075 * size, legs, 0.1 * size, 0.6, trousers)
        b.box(at(reach + 0.07, side * 0.1, 0.04), size * np.array([0.13, 0.05, 0.04]), plain, r, 0.3, 0.2 * np.ones(3))
        hand, shoulder = at(-0.8 * reach, side * 0.3, 0.82), at(0.0, side * 0.22, 1.4)
        b.cone(hand, shoulder, 0.045 * size, top, 0.06 * size, 0.5, coat)
        b.ellipsoid(hand, size * np.array([0.05, 0.04, 0.08]), plain, r, 0.2, skin)
    b.ellipsoid(at(0, 0, 1.15), size * np.array([0.15, 0.23, 0.38]), top, r, 0.6, coat)
    b.cone(at(0, 0, 1.42), at(0.02, 0, 1.56), 0.06 * size, plain, None, 0.2, skin)
    b.ellipsoid(at(0.03, 0, 1.64), size * np.array([0.1, 0.085, 0.125]), plain, r, 0.3, skin)
    b.ellipsoid(at(0.0, 0, 1.68), size * np.array([0.105, 0.095, 0.11]), plain, r, 0.3, hair)
    if rng.random() < 0.4:  # a bag on the back
        bag = rng.uniform(0.2, 1.0, 3)
        b.box(at(-0.2, 0, 1.2), size * np.array([0.1, 0.16, 0.22]), b.pick(rng, "fabric"), r, 0.5, bag)
    return max(stride, 0.3)
