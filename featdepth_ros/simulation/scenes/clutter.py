"""A path through a park or yard, with many objects close to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from featdepth_ros.simulation.render.scene import Scene, SceneBuilder, turn
from featdepth_ros.simulation.scenes.buildings import house
from featdepth_ros.simulation.scenes.greenery import bush, tree
from featdepth_ros.simulation.scenes.outdoors import CHUNK_M, Rng, Site
from featdepth_ros.simulation.scenes.road import make_road
from featdepth_ros.simulation.scenes.street import street_ground
from featdepth_ros.simulation.scenes.street_furniture import fence, posts


def make_clutter(seed: int, length_m: float = 400.0) -> Scene:
    """Build a path through a park or yard with close trees, bushes, crates, barrels, rocks, posts and fences.

    Args:
        seed: random seed of the whole scene.
        length_m: length of the path.
    """
    rng = np.random.default_rng([seed, 3])
    builder = SceneBuilder("clutter", seed)
    road = make_road(seed, length_m, float(rng.uniform(1.2, 2.0)), tightest_m=12.0)
    ground = street_ground(builder, rng, road.half_width_m)
    textures = (builder.pick(rng, "cover", "paving", "concrete"), *ground.textures[1:])
    ground = replace(ground, pavement=0.0, centre_line=0.0, edge_line=0.0, crossing=0.0, textures=textures)
    site = Site(builder, road, ground)
    for chunk in range(int(road.length_m / CHUNK_M) + 1):
        of_chunk = np.random.default_rng([seed, 4, chunk])
        for side in (1.0, -1.0):
            _fill(site, of_chunk, chunk * CHUNK_M, side)
    return site.finish(rng, shadow_cell_m=0.15, far_m=120.0)


def _fill(site: Site, rng: Rng, start: float, side: float) -> None:
    """Add the objects along ``CHUNK_M`` metres of one side of the path."""
    edge = site.road.half_width_m
    for _ in range(rng.poisson(5.0)):
        tree(site, rng, start + rng.uniform(0, CHUNK_M), side * (edge + rng.uniform(0.5, 18.0)))
    for _ in range(rng.poisson(4.0)):
        bush(site, rng, start + rng.uniform(0, CHUNK_M), side * (edge + rng.uniform(0.5, 10.0)))
    for _ in range(rng.poisson(9.0)):
        _thing(site, rng, start + rng.uniform(0, CHUNK_M), side * (edge + rng.gamma(1.5, 2.0)))
    posts(site, rng, start, side)
    if rng.random() < 0.7:
        fence(site, rng, start + rng.uniform(0, 15.0), side * (edge + rng.uniform(0.3, 6.0)))
    if rng.random() < 0.5:
        front, half_width = edge + rng.uniform(14.0, 30.0), rng.uniform(5, 12)
        house(site, rng, start + rng.uniform(0, CHUNK_M), side, front, (half_width, 5.0, 3.0), 3.0)


def _thing(site: Site, rng: Rng, s: float, left: float) -> None:
    """Add a crate, a stack of crates, a barrel, a rock, a ball or a leaning pole."""
    p, _ = site.place(s, left)
    b, size, kind = site.b, rng.uniform(0.2, 0.7), rng.integers(5)
    if not site.clear(p, size):
        return
    tint = rng.uniform(0.4, 1.1, 3)
    if kind == 0:
        r = turn(rng.uniform(0, 6))
        for level in range(int(rng.integers(1, 4))):
            texture = b.pick(rng, "wood", "door", "poster", "metal")
            b.box(p + [0, 0, size * (2 * level + 1)], (size, size, size), texture, r, "fit", tint)
    elif kind == 1:
        b.cone(p, p + [0, 0, 2.2 * size], 0.75 * size, b.pick(rng, "metal", "wood"), None, 0.8, tint)
    elif kind == 2:
        for _ in range(3):
            half, offset = size * rng.uniform(0.4, 1.1, 3), rng.normal(0, 0.4 * size, 3) * [1, 1, 0.3]
            stone = b.pick(rng, "concrete", "cover")
            b.ellipsoid(p + offset, half, stone, turn(*rng.uniform(0, 6, 3)), 0.9, 0.9 * np.ones(3))
    elif kind == 3:
        b.ellipsoid(p + [0, 0, size], (size,) * 3, b.pick(rng, "fabric", "poster", "paint"), None, size, tint)
    else:
        top = p + rng.normal(0, 0.4, 3) * [1, 1, 0] + [0, 0, rng.uniform(1.0, 3.5)]
        b.cone(p, top, rng.uniform(0.015, 0.06), b.pick(rng, "wood", "metal"), None, 0.5, tint)
