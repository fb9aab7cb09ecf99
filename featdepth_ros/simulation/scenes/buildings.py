"""Houses: walls of storeys under pitched, hipped or flat roofs, with doors, shops, awnings and balconies."""

from __future__ import annotations

import math

import numpy as np

from featdepth_ros.simulation.render.scene import SceneBuilder, turn
from featdepth_ros.simulation.scenes.outdoors import Rng, Site, Vector


def house(
    site: Site, rng: Rng, s: float, side: float, front: float, size: tuple[float, float, float], storey: float
) -> None:
    """Add a house, unless it would stand on the road. All lengths are in metres.

    Args:
        site: the road and the ground beside it.
        rng: random generator of the style.
        s: position of the house's middle along the road.
        side: 1: left of the road, -1: right of it.
        front: distance of the front from the centreline.
        size: half width, half depth, and height of the walls.
        storey: height of one storey.
    """
    b, (half_width, deep, tall) = site.b, size
    p, heading = site.place(s, side * (front + deep))
    if not site.off_road(p, math.hypot(half_width, deep) * 0.85):
        return
    r = turn(heading + rng.normal(0.0, 0.02))
    site.add_house(p, r, (half_width, deep))
    wall = b.pick(rng, "facade", "facade", "facade", "bricks", "plaster")
    tint = rng.uniform(0.8, 1.15) * (1.0 + rng.uniform(-0.12, 0.12, 3))
    tile = (storey * rng.uniform(1.5, 2.4), 2 * storey)
    half = (half_width, deep, tall / 2 + 0.25)
    b.box(p + [0, 0, half[2] - 0.5], half, (wall, wall, b.pick(rng, "concrete")), r, tile, tint)
    _roof(b, rng, p + [0, 0, tall], r, half_width, deep, tint)
    _front(b, rng, p - side * r[:, 1] * (deep + 0.02), r, side, size, storey)


def _roof(b: SceneBuilder, rng: Rng, top: Vector, r: Vector, half_width: float, deep: float, tint: Vector) -> None:
    """Add a random roof: a gable roof, a hipped roof, or a flat roof with a parapet."""
    kind = rng.random()
    if kind > 0.65:
        b.box(top + [0, 0, 0.2], (half_width + 0.15, deep + 0.15, 0.25), b.pick(rng, "concrete"), r, 2.0)
        return
    lean, tiles, gabled = rng.uniform(0.45, 0.9), b.pick(rng, "roof"), kind < 0.42
    rise = math.tan(lean) * (deep + 0.35)
    wide = half_width + (0.15 if gabled else 0.35)
    ridge = 1.0 if gabled else max(1.0 - (deep + 0.35) / wide, 0.05)
    gable, of_gable = (b.pick(rng, "plaster", "bricks", "wood"), 0.9 * tint) if gabled else (tiles, np.ones(3))
    b.frustum(
        top + [0, 0, rise / 2], (wide, deep + 0.35, rise / 2), (gable, tiles, b.pick(rng, "wood")), (ridge, 0.01), r,
        tile=(3.0, 3.0 * math.sin(lean)), tint=np.stack([of_gable, np.ones(3), 0.5 * np.ones(3)]),
    )  # fmt: skip
    for _ in range(rng.integers(0, 3)):
        at = top + r[:, 0] * rng.uniform(-0.8, 0.8) * ridge * half_width + [0, 0, rise]
        b.box(at, (0.3, 0.3, 0.9), b.pick(rng, "bricks"), r, 1.0)


def _front(
    b: SceneBuilder, rng: Rng, face: Vector, r: Vector, side: float, size: tuple[float, float, float], storey: float
) -> None:
    """Add a door with a step, and at random a shop sign, an awning and balconies; ``face`` is the front's bottom."""
    half_width, towards = size[0], -side * r[:, 1]
    at = face + r[:, 0] * rng.uniform(-0.7, 0.7) * half_width
    b.box(at + [0, 0, 1.05], (0.55, 0.06, 1.1), b.pick(rng, "door"), r, "fit")
    b.box(at + towards * 0.4, (0.8, 0.5, 0.12), b.pick(rng, "concrete"), r)
    if rng.random() < 0.4:
        sign, cloth = b.pick(rng, "poster"), b.pick(rng, "fabric")
        b.box(face + [0, 0, 2.7], (half_width * 0.8, 0.1, 0.35), sign, r, (5.0, 0.7), shift=(0, 0.5))
        awning = r @ turn(0.0, 0.0, -0.35 * side)
        b.box(face + towards * 0.6 + [0, 0, 2.3], (half_width * 0.6, 0.7, 0.05), cloth, awning, 1.5)
    for k in range(1, int(size[2] / storey)):
        if rng.random() < 0.35:
            at = face + towards * 0.5 + r[:, 0] * rng.uniform(-0.6, 0.6) * half_width + [0, 0, k * storey]
            b.box(at, (1.4, 0.55, 0.08), b.pick(rng, "concrete"), r)
            b.box(at + towards * 0.5 + [0, 0, 0.5], (1.4, 0.03, 0.45), b.pick(rng, "metal", "glass"), r, 0.8)
