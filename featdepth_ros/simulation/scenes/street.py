"""Streets: a road through a town with houses, trees, parked cars, poles, fences and wires."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from featdepth_ros.simulation.render.scene import Ground, Scene, SceneBuilder, turn
from featdepth_ros.simulation.scenes.buildings import house
from featdepth_ros.simulation.scenes.greenery import bush, hedge_row, tree
from featdepth_ros.simulation.scenes.outdoors import CHUNK_M, Rng, Site, waves
from featdepth_ros.simulation.scenes.road import make_road
from featdepth_ros.simulation.scenes.street_furniture import fence, kerbs, posts, wires
from featdepth_ros.simulation.scenes.vehicles import parked_car

#: Widths of pavements, metres.
PAVEMENT_M = (1.6, 3.5)
#: Height of the longest wave of hills, metres; slopes reach 20 %.
HILLS_M = (0.8, 2.2)


def make_street(seed: int, length_m: float = 400.0) -> Scene:
    """Build a street. For one seed, a longer street begins with the shorter one.

    Args:
        seed: random seed of the whole scene.
        length_m: length of the centreline.
    """
    rng = np.random.default_rng([seed, 1])
    return _make(SceneBuilder("street", seed), rng, length_m, float(rng.uniform(4.0, 6.0)), _Side)


def make_avenue(seed: int, length_m: float = 400.0) -> Scene:
    """Build a narrow street below the crowns of trees, with gardens, hedges and many parked cars.

    Args:
        seed: random seed of the whole scene.
        length_m: length of the centreline.
    """
    rng = np.random.default_rng([seed, 6])
    return _make(SceneBuilder("avenue", seed), rng, length_m, float(rng.uniform(3.0, 5.0)), _LeafySide)


def make_lane(seed: int, length_m: float = 400.0) -> Scene:
    """Build a narrow street between hedges and garden walls, with cars parked at one kerb or both.

    Args:
        seed: random seed of the whole scene.
        length_m: length of the centreline.
    """
    rng = np.random.default_rng([seed, 7])
    return _make(SceneBuilder("lane", seed), rng, length_m, float(rng.uniform(2.9, 4.2)), _GardenSide)


def make_hills(seed: int, length_m: float = 400.0) -> Scene:
    """Build a street over hills, with slopes up to 20 %.

    Args:
        seed: random seed of the whole scene.
        length_m: length of the centreline.
    """
    rng = np.random.default_rng([seed, 15])
    return _make(SceneBuilder("hills", seed), rng, length_m, float(rng.uniform(4.0, 6.0)), _Side, HILLS_M)


def _make(
    builder: SceneBuilder,
    rng: Rng,
    length_m: float,
    half_width_m: float,
    side_of: type[_Side],
    hills_m: tuple[float, float] | None = None,
) -> Scene:
    seed = builder.seed
    road = make_road(seed, length_m, half_width_m)
    ground = street_ground(builder, rng, road.half_width_m, side_of.pavement_m)
    if hills_m is not None:  # only the long waves become hills, so that the road stays smooth
        ups = waves(rng, float(rng.uniform(*hills_m)))
        ground = dataclasses.replace(ground, waves=ups[:2])
    site = Site(builder, road, ground)
    sides = [side_of(rng, 1.0), side_of(rng, -1.0)]
    for chunk in range(int(road.length_m / CHUNK_M) + 1):
        of_chunk = np.random.default_rng([seed, 2, chunk])
        for side in sides:
            side.fill(site, of_chunk, chunk * CHUNK_M)
        if seed % 3 != 2:
            wires(site, chunk * CHUNK_M)
    return site.finish(rng, shadow_cell_m=0.22, far_m=170.0)


def street_ground(
    b: SceneBuilder, rng: Rng, half_width_m: float, pavement_m: tuple[float, float] = PAVEMENT_M
) -> Ground:
    """Return random widths, markings, surfaces and undulation of a road."""
    return Ground(
        road=half_width_m,
        pavement=float(rng.uniform(*pavement_m)),
        tile=float(rng.uniform(1.6, 3.0)),
        centre_line=float(rng.choice([0.0, 0.5, 0.9])),
        edge_line=float(rng.choice([0.0, 0.0, 0.8])),
        dash=float(rng.choice([0.0, 6.0, 10.0])),
        crossing=float(rng.choice([0.0, 70.0, 120.0])),
        textures=(
            b.pick(rng, "asphalt"),
            b.pick(rng, "paving", "concrete"),
            b.pick(rng, "cover"),
            b.pick(rng, "cover"),
        ),
        tints=tuple((tone, tone, tone) for tone in rng.uniform(0.8, 1.15, 4).tolist()),
        waves=waves(rng, float(rng.uniform(0.1, 0.7))),
    )


class _Side:
    """One side of a street, with random densities of the objects along it."""

    bushes = 2.5
    pavement_m = PAVEMENT_M

    def __init__(self, rng: Rng, side: float) -> None:
        self.side = side
        self.houses, self.trees = float(rng.uniform(0.35, 1.0)), float(rng.uniform(0.0, 1.0))
        self.cars, self.setback = float(rng.uniform(0.0, 0.9)), float(rng.uniform(0.3, 6.0))

    def fill(self, site: Site, rng: Rng, start: float) -> None:
        """Add the objects along ``CHUNK_M`` metres from ``start``."""
        side, road = self.side, site.road.half_width_m
        edge = road + site.ground.pavement
        kerbs(site, start, side)
        self._houses(site, rng, start, edge + self.setback)
        self._trees(site, rng, start, edge)
        for _ in range(rng.poisson(self.bushes)):
            bush(site, rng, start + rng.uniform(0, CHUNK_M), side * (edge + rng.uniform(0.3, 4.0)))
        s = start + rng.uniform(0.0, 4.0)
        while s < start + CHUNK_M - 4.0:
            if rng.random() < self.cars:
                p, heading = site.place(s, side * (road - 1.05))
                parked_car(site.b, rng, p, turn(heading + (math.pi if side > 0 else 0.0) + rng.normal(0, 0.02)))
            s += rng.uniform(5.3, 7.0)
        posts(site, rng, start, side)
        if rng.random() < 0.4:
            fence(site, rng, start + rng.uniform(0, 10.0), side * (edge + rng.uniform(0.0, 1.0)))

    def _trees(self, site: Site, rng: Rng, start: float, edge: float) -> None:
        for _ in range(rng.poisson(3.5 * self.trees)):
            tree(site, rng, start + rng.uniform(0, CHUNK_M), self.side * (edge + rng.uniform(-1.0, 5.0)))

    def _houses(self, site: Site, rng: Rng, start: float, edge: float) -> None:
        """Add a row of houses, and behind it a taller row that blocks the view between them."""
        s = start
        while s < start + CHUNK_M:
            width, deep = rng.uniform(7.0, 17.0), rng.uniform(4.0, 8.0)
            storey = rng.uniform(2.7, 3.4)
            tall, at = storey * rng.integers(1, 6), s + width / 2
            if rng.random() < self.houses:
                house(site, rng, at, self.side, edge + rng.uniform(0, 1.5), (width / 2, deep, tall), storey)
            elif rng.random() < 0.5:
                tree(site, rng, at, self.side * (edge + deep))
            far = edge + 2 * deep + rng.uniform(8.0, 30.0)
            if rng.random() < 0.6:
                size = (rng.uniform(5, 10), 5.0, tall + rng.uniform(0, 9))
                house(site, rng, at, self.side, far, size, storey)
            else:
                tree(site, rng, at, self.side * far)
            s += width + (0.0 if rng.random() < 0.6 else rng.uniform(0.5, 5.0))


class _LeafySide(_Side):
    """One side of an avenue."""

    bushes = 7.0

    def __init__(self, rng: Rng, side: float) -> None:
        super().__init__(rng, side)
        self.cars = float(rng.uniform(0.3, 1.0))
        self.apart, self.big = float(rng.uniform(6.0, 14.0)), float(rng.uniform(1.0, 2.2))

    def _trees(self, site: Site, rng: Rng, start: float, edge: float) -> None:
        """Add a row of large trees at the kerb, and some behind it."""
        kerb = site.road.half_width_m + 0.8
        for at in np.arange(start, start + CHUNK_M, self.apart):
            if rng.random() < 0.85:
                tree(site, rng, at + rng.normal(0, 0.7), self.side * (kerb + rng.uniform(0, 0.8)), self.big)
        for _ in range(rng.poisson(2.5)):
            at, left = start + rng.uniform(0, CHUNK_M), self.side * (edge + rng.uniform(0.5, 7.0))
            tree(site, rng, at, left, float(rng.uniform(1, 2)))


class _GardenSide(_Side):
    """One side of a narrow street: hedges and walls, gardens behind them, and houses behind the gardens."""

    bushes = 4.0
    pavement_m = (0.4, 1.8)

    def __init__(self, rng: Rng, side: float) -> None:
        super().__init__(rng, side)
        self.cars = float(rng.choice([0.0, rng.uniform(0.2, 1.0)], p=[0.25, 0.75]))
        self.setback, self.gaps = float(rng.uniform(1.0, 6.0)), float(rng.uniform(0.05, 0.45))

    def fill(self, site: Site, rng: Rng, start: float) -> None:
        super().fill(site, rng, start)
        edge = site.road.half_width_m + site.ground.pavement
        hedge_row(site, rng, start, self.side * (edge + 0.65), self.gaps)
