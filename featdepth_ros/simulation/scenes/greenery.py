"""Trees, conifers, bushes and hedges, and the low walls that sometimes replace hedges."""

from __future__ import annotations

import math

import numpy as np

from featdepth_ros.simulation.render.scene import turn
from featdepth_ros.simulation.scenes.outdoors import CHUNK_M, Rng, Site


def tree(site: Site, rng: Rng, s: float, left: float, size: float = 1.0) -> None:
    """Add a tree at road coordinates (m), unless its trunk would stand on the road or its crown inside a house.

    ``size`` is a factor on its crown; the trunk grows less with it.
    """
    p, _ = site.place(s, left)
    tall, radius, spread = rng.uniform(1.8, 4.0), rng.uniform(0.09, 0.28), rng.uniform(1.0, 2.6) * size
    tall, radius = tall * math.sqrt(size), radius * math.sqrt(size)
    if not (site.off_road(p, radius) and site.off_houses(p, 0.7 * spread)):
        return
    b = site.b
    top = p + [rng.normal(0, 0.15), rng.normal(0, 0.15), tall + 0.6]
    b.cone(p - [0, 0, 0.3], top, radius, b.pick(rng, "bark"), 0.6 * radius, (0.7, 1.6))
    leaf = b.pick(rng, "foliage")
    tint = rng.uniform(0.85, 1.25) * (1.0 + rng.uniform(-0.1, 0.1, 3))
    if rng.random() < 0.2:  # a conifer
        for k in range(4):
            low = p + [0, 0, 0.8 + 1.5 * k]
            b.cone(low, low + [0, 0, 2.3], spread * (1.0 - 0.2 * k), leaf, 0.05, 1.2, tint)
        return
    crown = top + [0, 0, 0.7 * spread]
    for _ in range(int(rng.integers(5, 9))):
        offset = np.clip(rng.normal(0, 0.45, 3), -0.8, 0.8) * [spread, spread, 0.75 * spread]
        half = spread * rng.uniform(0.42, 0.78, 3) * [1, 1, 0.85]
        b.leaves(crown + offset, half, leaf, turn(*rng.uniform(0, 6, 3)), 1.6, tint)
    for _ in range(3):
        tip = top + rng.normal(0, 0.6, 3) * spread + [0, 0, spread]
        b.cone(top - [0, 0, 0.5], tip, 0.5 * radius, b.pick(rng, "bark"), 0.02)


def bush(site: Site, rng: Rng, s: float, left: float) -> None:
    """Add a bush or a hedge at road coordinates (m), unless it would reach over the road."""
    p, heading = site.place(s, left)
    size = rng.uniform(0.4, 1.1)
    if not site.clear(p, size):
        return
    leaf, tint = site.b.pick(rng, "foliage"), rng.uniform(0.85, 1.25) * np.ones(3)
    if rng.random() < 0.3:  # a hedge
        half = (rng.uniform(1.5, 4.0), 0.4, rng.uniform(0.5, 1.0))
        if site.clear(p, half[0]):
            site.b.box(p + [0, 0, half[2] - 0.1], half, leaf, turn(heading), 1.4, tint)
        return
    for _ in range(int(rng.integers(2, 5))):
        offset = rng.normal(0, 0.4, 3) * size * [1, 1, 0.4]
        site.b.leaves(p + offset + [0, 0, 0.5 * size], size * rng.uniform(0.45, 0.9, 3), leaf, None, 1.3, tint)


def hedge_row(site: Site, rng: Rng, start: float, left: float, gaps: float) -> None:
    """Add hedges and walls along ``CHUNK_M`` metres from ``start`` (m), at the offset ``left`` (m) from the centreline.

    ``gaps`` is the share of open pieces, for gates and driveways.
    """
    s = start
    while s < start + CHUNK_M:
        long, thick, tall = rng.uniform(2.5, 9.0), rng.uniform(0.25, 0.6), rng.uniform(0.7, 2.4)
        p, heading = site.place(s + long / 2, left)
        s += long + rng.uniform(0.0, 0.4)
        if rng.random() < gaps or not (site.off_road(p, thick) and site.off_houses(p, thick)):
            continue
        half, tint = np.array([long / 2, thick, tall / 2]), rng.uniform(0.75, 1.25) * np.ones(3)
        turned = turn(heading + rng.normal(0, 0.02))
        if rng.random() < 0.3:
            wall, half = site.b.pick(rng, "plaster", "bricks", "concrete"), half * [1, 0.5, 0.7]
            site.b.box(p + [0, 0, half[2] - 0.1], half, wall, turned, 1.8, tint)
            continue
        middle = p + [0, 0, half[2] - 0.1]
        leaf = site.b.pick(rng, "foliage")
        site.b.box(middle, half, leaf, turned, 1.4, tint)
        for _ in range(int(long)):  # no hedge has straight edges
            offset = turned @ (rng.uniform(-1, 1, 3) * half * [1, 0.8, 1])
            site.b.leaves(middle + offset, rng.uniform(0.3, 0.6, 3), leaf, None, 1.3, tint)
