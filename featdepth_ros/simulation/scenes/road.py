"""The centreline of a road: a sequence of circular arcs, and a grid for the lookup of the nearest arc."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Vector = NDArray[np.float64]
GRID_CELL_M = 4.0


@dataclass(frozen=True)
class Road:
    """A centreline.

    Attributes:
        arcs: (A, 6) float64: x, y (m), heading (rad), curvature (1/m), length (m), distance of the arc's start (m).
        half_width_m: from the centreline to the kerb.
    """

    arcs: Vector
    half_width_m: float

    @property
    def length_m(self) -> float:
        """Length of the centreline, metres."""
        return float(self.arcs[-1, 4] + self.arcs[-1, 5])

    def at(self, s: NDArray[np.float64] | float, left: NDArray[np.float64] | float = 0.0) -> Vector:
        """Return (..., 3) x (m), y (m), heading (rad) at distance ``s`` and offset ``left`` (m)."""
        s_, left_ = np.broadcast_arrays(np.asarray(s, float), np.asarray(left, float))
        i = np.clip(np.searchsorted(self.arcs[:, 5], s_, side="right") - 1, 0, len(self.arcs) - 1)
        x, y, heading, k, _, start = np.moveaxis(self.arcs[i], -1, 0)
        ahead = s_ - start
        half = 0.5 * k * ahead
        chord = ahead * np.sinc(half / math.pi)
        now = heading + k * ahead
        return np.stack(
            [
                x + chord * np.cos(heading + half) - left_ * np.sin(now),
                y + chord * np.sin(heading + half) + left_ * np.cos(now),
                now,
            ],
            axis=-1,
        )

    def grid(self, margin_m: float = 80.0) -> tuple[NDArray[np.int32], Vector]:
        """Return the nearest arc of every ground cell, and the grid's frame (x, y of its corner, cell size, in m)."""
        s = np.arange(0.0, self.length_m, 2.0)
        points = self.at(s)[:, :2]
        owner = np.clip(np.searchsorted(self.arcs[:, 5], s, side="right") - 1, 0, len(self.arcs) - 1)
        low, high = points.min(0) - margin_m, points.max(0) + margin_m
        columns, rows = np.ceil((high - low) / GRID_CELL_M).astype(int)
        y, x = np.mgrid[0:rows, 0:columns]
        cells = np.stack([x, y], axis=-1) * GRID_CELL_M + low + 0.5 * GRID_CELL_M
        _, nearest = cKDTree(points).query(cells)
        return owner[nearest].astype(np.int32), np.array([low[0], low[1], GRID_CELL_M])


def make_road(seed: int, length_m: float, half_width_m: float, tightest_m: float = 25.0, bends: float = 1.0) -> Road:
    """Return a random centreline that starts eastwards at the origin.

    It never crosses itself, because headings stay within 80 degrees. For one seed, a longer road begins with the
    shorter one.

    Args:
        seed: random seed of the centreline.
        length_m: least length of the centreline.
        half_width_m: distance from the centreline to the kerb.
        tightest_m: smallest radius of a bend.
        bends: strength of the bends: 1 for a town, near 0 for a straight road.
    """
    rng = np.random.default_rng([seed, 101])
    x, y, heading, s = 0.0, 0.0, 0.0, 0.0
    arcs: list[list[float]] = []
    while s < length_m:
        if len(arcs) % 2 == 0:
            k, length = float(rng.normal(0.0, 0.001)) * bends, float(rng.uniform(25.0, 90.0))
            k = float(np.clip(k, (-1.3 - heading) / length, (1.3 - heading) / length))
        else:
            target = float(np.clip(rng.normal(-0.3 * heading, 0.8) * bends, -1.3, 1.3))
            radius = tightest_m * float(np.exp(rng.uniform(0.0, 2.0)))
            change = target - heading
            k, length = math.copysign(1.0 / radius, change), max(abs(change) * radius, 2.0)
            if abs(change) * radius < 2.0:
                k = change / length
        arcs.append([x, y, heading, k, length, s])
        half = 0.5 * k * length
        chord = length * float(np.sinc(half / math.pi))
        x, y = x + chord * math.cos(heading + half), y + chord * math.sin(heading + half)
        heading, s = heading + k * length, s + length
    return Road(np.array(arcs), half_width_m)
