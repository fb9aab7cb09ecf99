"""Parked cars."""

from __future__ import annotations

import numpy as np

from featdepth_ros.simulation.render.scene import SceneBuilder
from featdepth_ros.simulation.scenes.outdoors import Rng, Vector

PAINTS = (
    (0.85, 0.85, 0.85), (0.12, 0.12, 0.14), (0.5, 0.52, 0.55), (0.6, 0.1, 0.1), (0.12, 0.2, 0.42), (0.3, 0.35, 0.3),
)  # fmt: skip


def parked_car(b: SceneBuilder, rng: Rng, p: Vector, r: Vector) -> None:
    """Add a car or van that stands on ``p`` and faces along the first axis of ``r``."""
    tint = np.clip(np.array(PAINTS[rng.integers(len(PAINTS))]) + rng.uniform(-0.08, 0.08, 3), 0.04, 1.0)
    paint, glass, dark = b.pick(rng, "paint"), b.pick(rng, "glass"), b.pick(rng, "metal")
    long, wide, low = rng.uniform(1.85, 2.4), rng.uniform(0.8, 0.92), rng.uniform(0.52, 0.64)
    belt = 0.26 + low  # the height where the panes begin

    def at(x: float, y: float, z: float) -> Vector:
        place: Vector = p + r @ np.array([x, y, z])
        return place

    b.frustum(at(0, 0, 0.26 + low / 2), (long, wide, low / 2), paint, (0.95, 0.93), r, 3.0, tint)
    b.box(at(0, 0, 0.36), (1.015 * long, 0.96 * wide, 0.1), dark, r, 1.5, (0.22, 0.22, 0.23))
    if rng.random() < 0.2:  # a van
        high, half, back, taper = rng.uniform(0.6, 0.85), 0.82 * long, -0.1 * long, (0.86, 0.9)
    else:
        high, half, back = rng.uniform(0.42, 0.54), rng.uniform(0.56, 0.68) * long, rng.uniform(-0.4, -0.12)
        taper = (rng.uniform(0.55, 0.72), 0.78)
    side = 0.88 * wide
    b.frustum(at(back, 0, belt + high / 2), (half, side, high / 2), glass, taper, r, 1.5)
    b.frustum(at(back, 0, belt + high), (taper[0] * half + 0.04, taper[1] * side + 0.03, 0.04), paint, (0.93, 0.93), r,
              3.0, tint)  # fmt: skip
    for y in (-1.0, 1.0):
        for x in (-0.99, -0.1, 0.99):
            foot = at(back + x * half, y * side, belt)
            b.cone(foot, at(back + x * taper[0] * half, y * taper[1] * side, belt + high), 0.04, paint, None, 3.0, tint)
        for x in (-0.6, 0.62):
            hub, out = at(x * long, y * (wide - 0.14), 0.31), r @ np.array([0, y * 0.16, 0.0])
            b.cone(hub, hub + out, 0.31, dark, None, 0.3, (0.1, 0.1, 0.1))
            b.cone(hub + 0.95 * out, hub + 1.05 * out, 0.19, dark, 0.15, 0.3, (0.8, 0.8, 0.82))
        b.box(at(0.955 * long, y * 0.68 * wide, 0.68 * belt), (0.05, 0.2, 0.07), dark, r, 0.4, (1.3, 1.3, 1.15))
        b.box(at(-0.955 * long, y * 0.76 * wide, 0.74 * belt), (0.05, 0.11, 0.1), dark, r, 0.4, (0.9, 0.1, 0.1))
    for end in (-1.0, 1.0):
        b.box(at(end * 1.02 * long, 0, 0.38), (0.012, 0.26, 0.055), dark, r, 1.0, (1.3, 1.3, 1.25))
