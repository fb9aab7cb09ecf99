"""A highway: four lanes between guard rails with few bends, and optionally with bridges and a tunnel."""

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

#: Offsets of the lanes' middles to the left of the centreline, metres; the camera drives in the first lane.
HIGHWAY_LANES_M = (-1.8, -5.4, 1.8, 5.4)
HALF_WIDTH_M = 8.2


def make_highway(seed: int, length_m: float = 400.0) -> Scene:
    """Build a highway. For one seed, a longer highway begins with the shorter one.

    Args:
        seed: random seed of the whole scene.
        length_m: length of the centreline.
    """
    site, of_scene = _highway("highway", seed, length_m, np.random.default_rng([seed, 8]), tunnel_m=(0.0, 0.0))
    return site.finish(of_scene, shadow_cell_m=0.22, far_m=170.0)


def make_underpass(seed: int, length_m: float = 400.0) -> Scene:
    """Build a highway that passes below bridges and through a tunnel.

    Args:
        seed: random seed of the whole scene.
        length_m: length of the centreline.
    """
    rng = np.random.default_rng([seed, 14])
    start = float(rng.uniform(25.0, 70.0))
    tunnel_m = (start, start + float(rng.uniform(40.0, 110.0)))
    site, rng = _highway("underpass", seed, length_m, rng, tunnel_m)
    _tunnel(site, rng, *tunnel_m)
    at = float(rng.uniform(10.0, 40.0))
    while at < length_m:
        if not tunnel_m[0] - 12.0 < at < tunnel_m[1] + 12.0:
            _bridge(site, rng, at)
        at += float(rng.uniform(35.0, 90.0))
    return site.finish(rng, shadow_cell_m=0.22, far_m=170.0)


def _highway(kind: str, seed: int, length_m: float, rng: Rng, tunnel_m: tuple[float, float]) -> tuple[Site, Rng]:
    """Build the road and the objects along it outside a tunnel; return the site and the generator for the rest."""
    builder = SceneBuilder(kind, seed)
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
            if tunnel_m[0] - CHUNK_M < start < tunnel_m[1]:
                continue
            posts(site, of_chunk, start, side)
            _verge(site, of_chunk, start, side, woods, town)
    return site, rng


def _guard_rail(site: Site, start: float, side: float) -> None:
    """Add the guard rail and its posts along a chunk on one side (1: left, -1: right)."""
    b, left = site.b, side * (site.road.half_width_m + 0.3)
    metal, tint = b.atlas["metal"][0], (0.75, 0.76, 0.78)
    for s in np.arange(start, start + CHUNK_M, 3.75):
        p, q = site.place(s, left)[0], site.place(s + 3.75, left)[0]
        run = q - p
        rotation = turn(math.atan2(run[1], run[0]), -math.atan2(run[2], math.hypot(run[0], run[1])))
        b.box(0.5 * (p + q) + [0, 0, 0.62], (0.5 * float(np.linalg.norm(run)), 0.04, 0.15), metal, rotation, 1.0, tint)
        b.box(p + [0, 0, 0.3], (0.05, 0.06, 0.35), metal, rotation, 1.0, (0.5, 0.5, 0.52))


def _verge(site: Site, rng: Rng, start: float, side: float, woods: float, town: float) -> None:
    """Add trees, bushes and distant houses along a chunk of one side."""
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


def _bridge(site: Site, rng: Rng, s: float) -> None:
    """Add a bridge across the road: a deck with parapets on abutments, and often piers beside the road."""
    b, reach = site.b, site.road.half_width_m
    p, heading = site.place(s, 0.0)
    r = turn(heading + float(rng.normal(0.0, 0.2)))
    stone, clear = b.pick(rng, "concrete", "bricks"), float(rng.uniform(4.7, 6.5))
    half, thick, tint = float(rng.uniform(2.0, 7.0)), float(rng.uniform(0.4, 0.9)), rng.uniform(0.65, 1.05)
    b.box(p + [0, 0, clear + thick], (half, reach + 14.0, thick), stone, r, 3.0, tint * np.ones(3))
    rail = b.pick(rng, "concrete", "metal", "poster")
    for end in (-1.0, 1.0):
        top = p + end * half * r[:, 0] + [0, 0, clear + 2 * thick + 0.5]
        b.box(top, (0.12, reach + 14.0, 0.55), rail, r, 2.0, 0.9 * tint * np.ones(3))
        foot = p + end * (reach + float(rng.uniform(4.0, 9.0))) * r[:, 1]
        b.box(foot + [0, 0, 0.5 * clear], (half, 1.0, 0.5 * clear + 0.6), stone, r, 3.0, 0.9 * tint * np.ones(3))
        if rng.random() < 0.6:
            for along in (-0.7, 0.0, 0.7):
                pier = p + end * (reach + 0.9) * r[:, 1] + along * half * r[:, 0]
                b.cone(pier - [0, 0, 0.5], pier + [0, 0, clear + 0.1], 0.4, stone, None, 2.0, tint * np.ones(3))


def _tunnel(site: Site, rng: Rng, first: float, last: float) -> None:
    """Add a tunnel from ``first`` to ``last`` (m along the road): walls, a roof with lamps, and two portals."""
    b, reach = site.b, site.road.half_width_m + float(rng.uniform(0.7, 2.0))
    high, wall = float(rng.uniform(4.6, 6.5)), b.pick(rng, "concrete", "paving", "bricks")
    tint, step = float(rng.uniform(0.6, 1.05)) * np.ones(3), 5.0
    for s in np.arange(first, last, step):
        p, heading = site.place(float(s) + 0.5 * step, 0.0)
        r, half = turn(heading), 0.5 * step + 0.25
        for side in (-1.0, 1.0):
            b.box(p + side * (reach + 0.5) * r[:, 1] + [0, 0, 0.5 * high], (half, 0.5, 0.5 * high + 0.6), wall, r, 2.5,
                  tint)  # fmt: skip
            lamp = p + side * 0.45 * reach * r[:, 1] + [0, 0, high - 0.08]
            b.box(lamp, (0.6, 0.15, 0.06), b.atlas["paint"][0], r, 1.0, (1.3, 1.25, 1.05), glow=0.95, casts=False)
        b.box(p + [0, 0, high + 0.5], (half, reach + 1.0, 0.5), b.atlas["concrete"][0], r, 2.5, 0.7 * tint)
    for s in (first, last):
        p, heading = site.place(float(s), 0.0)
        r, above = turn(heading), float(rng.uniform(1.0, 4.0))
        b.box(p + [0, 0, high + 0.5 * above], (0.5, reach + 16.0, 0.5 * above + 0.3), wall, r, 2.5, tint)
        for side in (-1.0, 1.0):
            b.box(p + side * (reach + 8.5) * r[:, 1] + [0, 0, 0.5 * high], (0.5, 7.8, 0.5 * high + 0.6), wall, r, 2.5,
                  tint)  # fmt: skip
