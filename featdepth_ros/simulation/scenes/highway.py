"""A highway: four lanes between guard rails, trees, lamps and signs, with few bends and nothing parked."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from featdepth_ros.simulation.render.scene import Scene, SceneBuilder, turn
from featdepth_ros.simulation.scenes.buildings import house
from featdepth_ros.simulation.scenes.greenery import bush, tree
from featdepth_ros.simulation.scenes.outdoors import CHUNK_M, Rng, Site
from featdepth_ros.simulation.scenes.road import make_road
from featdepth_ros.simulation.scenes.street import street_ground
from featdepth_ros.simulation.scenes.street_furniture import posts

#: Where the lanes' middles are, metres left of the centreline; the camera drives in the first.
HIGHWAY_LANES_M = (-1.8, -5.4, 1.8, 5.4)
HALF_WIDTH_M = 8.2


def make_highway(seed: int, length_m: float = 400.0) -> Scene:
    """Build a highway of a given length; a longer one of the same seed begins with the shorter one.

    Args:
        seed: decides everything.
        length_m: of the centreline.
    """
    rng = np.random.default_rng([seed, 8])
    builder = SceneBuilder("highway", seed)
    road = make_road(seed, length_m, HALF_WIDTH_M, tightest_m=180.0, bends=0.5)
    ground = dataclasses.replace(
        street_ground(builder, rng, HALF_WIDTH_M), centre_line=0.9, edge_line=0.8, dash=10.0, crossing=0.0
    )
    site = Site(builder, road, ground)
    woods, town = float(rng.uniform(0.5, 4.0)), float(rng.uniform(0.0, 0.7))
    for chunk in range(int(road.length_m / CHUNK_M) + 1):
        of_chunk, start = np.random.default_rng([seed, 9, chunk]), chunk * CHUNK_M
        for side in (1.0, -1.0):
            _guard_rail(site, start, side)
            posts(site, of_chunk, start, side)
            _verge(site, of_chunk, start, side, woods, town)
    return site.finish(rng, shadow_cell_m=0.22, far_m=170.0)


def _guard_rail(site: Site, start: float, side: float) -> None:
    """Add the rail of a chunk on one side (1 left, -1 right) and its posts."""
    b, left = site.b, side * (site.road.half_width_m + 0.3)
    metal, tint = b.atlas["metal"][0], (0.75, 0.76, 0.78)
    for s in np.arange(start, start + CHUNK_M, 3.75):
        p, q = site.place(s, left)[0], site.place(s + 3.75, left)[0]
        run = q - p
        rotation = turn(math.atan2(run[1], run[0]), -math.atan2(run[2], math.hypot(run[0], run[1])))
        b.box(0.5 * (p + q) + [0, 0, 0.62], (0.5 * float(np.linalg.norm(run)), 0.04, 0.15), metal, rotation, 1.0, tint)
        b.box(p + [0, 0, 0.3], (0.05, 0.06, 0.35), metal, rotation, 1.0, (0.5, 0.5, 0.52))


def _verge(site: Site, rng: Rng, start: float, side: float, woods: float, town: float) -> None:
    """Add trees, bushes and far houses along a chunk of one side."""
    edge = site.road.half_width_m + site.ground.pavement
    for _ in range(rng.poisson(woods)):
        at, left = start + rng.uniform(0, CHUNK_M), side * (edge + rng.uniform(1.5, 14.0))
        tree(site, rng, at, left, float(rng.uniform(1.0, 2.0)))
    for _ in range(rng.poisson(3.0)):
        bush(site, rng, start + rng.uniform(0, CHUNK_M), side * (edge + rng.uniform(1.2, 6.0)))
    for at in (start + 8.0, start + 23.0):
        if rng.random() < town:
            size = (float(rng.uniform(5.0, 9.0)), 5.0, float(rng.uniform(5.0, 18.0)))
            house(site, rng, at, side, edge + float(rng.uniform(12.0, 30.0)), size, 3.0)
