"""Objects along a road: kerbs, lamps, signs, bins, fences, and wires on poles."""

from __future__ import annotations

import math

import numpy as np

from featdepth_ros.simulation.render.scene import turn
from featdepth_ros.simulation.scenes.outdoors import CHUNK_M, Rng, Site

GREY = (0.55, 0.56, 0.55)
SIGN_TINTS = ((0.9, 0.15, 0.12), (0.15, 0.3, 0.8), (0.95, 0.8, 0.1))


def kerbs(site: Site, start: float, side: float) -> None:
    """Add the kerb stones of a chunk on one side (1: left, -1: right)."""
    texture, tint = site.b.atlas["concrete"][0], np.full(3, 1.05)
    for s in np.arange(start, start + CHUNK_M, 5.0):
        p, q = (site.place(v, side * (site.road.half_width_m + 0.08))[0] for v in (s, s + 5.0))
        run = q - p
        rotation = turn(math.atan2(run[1], run[0]), -math.atan2(run[2], math.hypot(run[0], run[1])))
        half = (0.5 * float(np.linalg.norm(run)) + 0.02, 0.09, 0.2)
        site.b.box(0.5 * (p + q) - [0, 0, 0.06], half, texture, rotation, 1.3, tint)


def posts(site: Site, rng: Rng, start: float, side: float) -> None:
    """Add lamps, signs and bins along a chunk of one side."""
    near = site.road.half_width_m + 0.45
    if rng.random() < 0.7:
        _lamp(site, rng, start + rng.uniform(0, 8), side, near)
    for _ in range(rng.poisson(0.9)):
        _sign(site, rng, start + rng.uniform(8, CHUNK_M), side, near)
    for _ in range(rng.poisson(0.8)):
        _bin(site, rng, start + rng.uniform(0, CHUNK_M), side * (near + rng.uniform(0.1, 1.0)))


def _lamp(site: Site, rng: Rng, s: float, side: float, near: float) -> None:
    b, metal = site.b, site.b.pick(rng, "metal")
    p, heading = site.place(s, side * near)
    arm = -side * turn(heading)[:, 1] * rng.uniform(1.0, 2.2)
    tall = rng.uniform(5.0, 8.0)
    b.cone(p - [0, 0, 0.2], p + [0, 0, tall], 0.085, metal, 0.05, 0.6, GREY)
    b.cone(p + [0, 0, tall - 0.05], p + arm + [0, 0, tall + 0.2], 0.04, metal, None, 0.6, GREY)
    b.ellipsoid(p + arm + [0, 0, tall + 0.15], (0.4, 0.2, 0.1), metal, turn(heading))


def _sign(site: Site, rng: Rng, s: float, side: float, near: float) -> None:
    """Add a traffic sign or a board, which faces the traffic on its side."""
    b, paint = site.b, site.b.pick(rng, "paint")
    p, heading = site.place(s, side * near)
    b.cone(p, p + [0, 0, 2.5], 0.035, b.pick(rng, "metal"), None, 0.5, GREY)
    r = turn(heading + rng.normal(0, 0.15))
    middle = p + side * 0.055 * r[:, 0] + [0, 0, 2.25]
    if rng.random() < 0.5:
        tint = SIGN_TINTS[rng.integers(len(SIGN_TINTS))]
        b.ellipsoid(middle, (0.02, 0.32, 0.32), paint, r, 1.0, tint)
        b.ellipsoid(middle + side * 0.01 * r[:, 0], (0.02, 0.22, 0.22), paint, r, 1.0, (0.9, 0.9, 0.88))
    else:
        half = (0.02, rng.uniform(0.25, 0.8), rng.uniform(0.2, 0.5))
        b.box(middle, half, b.pick(rng, "poster"), r, "fit")


def _bin(site: Site, rng: Rng, s: float, left: float) -> None:
    """Add a bin, a box, a hydrant or a bollard."""
    b, (p, heading) = site.b, site.place(s, left)
    if not site.clear(p, 0.4):
        return
    if rng.random() < 0.5:
        half = (rng.uniform(0.2, 0.6), rng.uniform(0.15, 0.35), rng.uniform(0.4, 0.8))
        texture = b.pick(rng, "metal", "poster")
        b.box(p + [0, 0, half[2]], half, texture, turn(heading), "fit", rng.uniform(0.3, 1, 3))
    else:
        top, radius, texture = p + [0, 0, rng.uniform(0.5, 1.1)], rng.uniform(0.06, 0.28), b.pick(rng, "metal", "paint")
        b.cone(p, top, radius, texture, None, 0.5, rng.uniform(0.2, 1.0, 3))


def fence(site: Site, rng: Rng, s: float, left: float) -> None:
    """Add a wall, or a fence of posts and rails, along the road; it ends before it would reach the road."""
    b, length = site.b, rng.uniform(6.0, 18.0)
    tall, solid = rng.uniform(0.8, 1.9), rng.random() < 0.4
    texture = b.pick(rng, "bricks", "concrete", "wood") if solid else b.pick(rng, "metal", "wood")
    step = 3.0 if solid else 1.5
    tint = rng.uniform(0.5, 1.1) * np.ones(3)
    for at in np.arange(s, s + length, step):
        p, q = site.place(at, left)[0], site.place(at + step, left)[0]
        if not (site.off_road(p, 0.2) and site.off_road(q, 0.2)):
            return
        run = q - p
        if solid:
            half = (0.5 * float(np.hypot(*run[:2])), 0.12, tall / 2 + 0.1)
            b.box(0.5 * (p + q) + [0, 0, tall / 2], half, texture, turn(math.atan2(run[1], run[0])), 2.0, tint)
            continue
        b.cone(p, p + [0, 0, tall], 0.04, texture, None, 0.5, tint)
        for level in (0.25, 0.6, 0.95):
            b.cone(p + [0, 0, level * tall], q + [0, 0, level * tall], 0.022, texture, None, 0.5, tint)


def wires(site: Site, start: float) -> None:
    """Add wires on wooden poles along the left side of a chunk."""
    b, left = site.b, site.road.half_width_m + 0.6
    for s in (start, start + CHUNK_M / 2):
        p, heading = site.place(s, left)
        q, _ = site.place(s + CHUNK_M / 2, left)
        b.cone(p - [0, 0, 0.2], p + [0, 0, 7.5], 0.13, b.atlas["bark"][0], 0.09)
        across = turn(heading)[:, 1]
        b.box(p + [0, 0, 7.0], (0.06, 0.8, 0.06), b.atlas["wood"][0], turn(heading))
        for side in (-0.7, 0.0, 0.7):
            ends = [v + side * across + [0, 0, 7.1] for v in (p, q)]
            middle = 0.5 * (ends[0] + ends[1]) - [0, 0, 0.35]
            for a, c in ((ends[0], middle), (middle, ends[1])):
                b.cone(a, c, 0.016, b.atlas["metal"][0], None, 1.0, (0.15, 0.15, 0.15), casts=False)
