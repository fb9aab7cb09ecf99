"""A street: a road through a town, with houses, trees, parked cars, poles, fences and wires along it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from featdepth_ros.simulation.road import Road, make_road
from featdepth_ros.simulation.scene import Ground, Light, Scene, SceneBuilder, Sky, turn, undulation

CHUNK_M = 30.0
Rng = np.random.Generator


def make_street(seed: int, length_m: float = 400.0) -> Scene:
    """Build a street of a given length; a longer one of the same seed begins with the shorter one.

    Args:
        seed: decides everything.
        length_m: of the centreline.
    """
    rng = np.random.default_rng([seed, 1])
    builder = SceneBuilder("street", seed)
    road = make_road(seed, length_m, float(rng.uniform(4.0, 6.0)))
    street = _Street(builder, road, rng)
    for chunk in range(int(road.length_m / CHUNK_M) + 1):
        street.fill(np.random.default_rng([seed, 2, chunk]), chunk * CHUNK_M)
    grid, frame = road.grid()
    return builder.build(
        road, street_light(rng), street_sky(rng), street.ground, road.arcs, grid, frame, shadow_cell_m=0.22, far_m=170.0
    )


def make_clutter(seed: int, length_m: float = 400.0) -> Scene:
    """Build a path through a park or yard: trees, bushes, crates, barrels, rocks, posts and fences, close by."""
    rng = np.random.default_rng([seed, 3])
    builder = SceneBuilder("clutter", seed)
    road = make_road(seed, length_m, float(rng.uniform(1.2, 2.0)), tightest_m=12.0)
    yard = _Yard(builder, road, rng)
    for chunk in range(int(road.length_m / CHUNK_M) + 1):
        yard.fill(np.random.default_rng([seed, 4, chunk]), chunk * CHUNK_M)
    grid, frame = road.grid()
    return builder.build(
        road, street_light(rng), street_sky(rng), yard.ground, road.arcs, grid, frame, shadow_cell_m=0.15, far_m=120.0
    )


def street_light(rng: Rng) -> Light:
    """Draw sun and sky light, from noon to evening, clear to overcast."""
    height, around = math.radians(rng.uniform(18.0, 65.0)), rng.uniform(0.0, 2.0 * math.pi)
    clear = float(rng.uniform(0.15, 1.0))
    warm = float(np.clip((math.radians(50.0) - height), 0.0, 0.6))
    sun = clear * np.array([0.85, 0.8 - 0.12 * warm, 0.72 - 0.35 * warm])
    above = (0.55 + 0.35 * (1.0 - clear)) * np.array([0.95, 1.0, 1.08])
    below = (0.36 + 0.22 * (1.0 - clear)) * np.array([1.05, 1.0, 0.92])
    direction = (math.cos(height) * math.cos(around), math.cos(height) * math.sin(around), math.sin(height))
    return Light(direction, tuple(sun), tuple(above), tuple(below))


def street_sky(rng: Rng) -> Sky:
    """Draw a sky between blue and grey."""
    grey = float(rng.uniform(0.0, 1.0))
    zenith = (1 - grey) * np.array([0.28, 0.48, 0.85]) + grey * np.array([0.68, 0.71, 0.75])
    horizon = (1 - grey) * np.array([0.78, 0.86, 0.95]) + grey * np.array([0.88, 0.89, 0.9])
    return Sky(tuple(zenith), tuple(horizon), float(rng.uniform(0.3, 0.8)), float(rng.uniform(0.06, 0.2)))


def waves(rng: Rng, amplitude_m: float) -> NDArray[np.float64]:
    """Draw a gentle undulation: (W, 4) amplitude, cycles per metre along x and y, phase."""
    out = []
    for share, length in ((1.0, 170.0), (0.5, 83.0), (0.05, 11.0)):
        angle, cycles = rng.uniform(0, 2 * math.pi), 1.0 / (length * rng.uniform(0.8, 1.3))
        out.append([amplitude_m * share, cycles * math.cos(angle), cycles * math.sin(angle), rng.uniform()])
    return np.array(out)


class _Street:
    """What the chunks of one street share: its road, its style, and where the road keeps others away."""

    def __init__(self, builder: SceneBuilder, road: Road, rng: Rng) -> None:
        self.b, self.road = builder, road
        self.tree = cKDTree(road.at(np.arange(0.0, road.length_m, 1.0))[:, :2])
        self.pavement = float(rng.uniform(1.6, 3.5))
        b = builder
        tints = [(tone, tone, tone) for tone in rng.uniform(0.75, 1.15, 4).tolist()]
        self.ground = Ground(
            road=road.half_width_m,
            pavement=self.pavement,
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
            tints=tuple(tints),
            waves=waves(rng, float(rng.uniform(0.1, 0.7))),
        )
        # How much of each thing stands along this street; each side has its own mix.
        self.houses = rng.uniform(0.35, 1.0, 2)
        self.trees = rng.uniform(0.0, 1.0, 2)
        self.cars = rng.uniform(0.0, 0.9, 2)
        self.setback = rng.uniform(0.3, 6.0, 2)

    def height(self, x: float, y: float) -> float:
        """Return the ground's height (m)."""
        return undulation(self.ground.waves, x, y)[0]

    def place(self, s: float, left: float) -> tuple[NDArray[np.float64], float]:
        """Return the ground point and the road's heading at road coordinates."""
        x, y, heading = self.road.at(s, left)
        return np.array([x, y, self.height(x, y)]), float(heading)

    def clear(self, x: float, y: float, radius: float) -> bool:
        """Return whether a disc stays off the road."""
        distance, _ = self.tree.query([x, y])
        return bool(distance > radius + self.road.half_width_m + 0.2)

    def fill(self, rng: Rng, start: float) -> None:
        for index, side in enumerate((1.0, -1.0)):
            self.kerbs(rng, start, side)
            self.row_of_houses(rng, start, side, index)
            edge = self.road.half_width_m + self.pavement
            for _ in range(rng.poisson(3.5 * self.trees[index])):
                self.tree_at(rng, start + rng.uniform(0, CHUNK_M), side * (edge + rng.uniform(-1.0, 5.0)))
            for _ in range(rng.poisson(2.5)):
                self.bush(rng, start + rng.uniform(0, CHUNK_M), side * (edge + rng.uniform(0.3, 4.0)))
            s = start + rng.uniform(0.0, 4.0)
            while s < start + CHUNK_M - 4.0:
                if rng.random() < self.cars[index]:
                    self.car(rng, s, side * (self.road.half_width_m - 1.05), along=side)
                s += rng.uniform(5.3, 7.0)
            self.posts(rng, start, side, edge)
            if rng.random() < 0.4:
                self.fence(rng, start + rng.uniform(0, 10.0), side * (edge + rng.uniform(0.0, 1.0)))
        self.overhead(rng, start)

    def kerbs(self, rng: Rng, start: float, side: float) -> None:
        texture, tint = self.b.atlas["concrete"][0], np.full(3, 1.05)
        for s in np.arange(start, start + CHUNK_M, 5.0):
            p, q = (self.place(v, side * (self.road.half_width_m + 0.08))[0] for v in (s, s + 5.0))
            run = q - p
            rotation = turn(math.atan2(run[1], run[0]), -math.atan2(run[2], math.hypot(run[0], run[1])))
            half = (0.5 * float(np.linalg.norm(run)) + 0.02, 0.09, 0.2)
            self.b.box(0.5 * (p + q) - [0, 0, 0.06], half, texture, rotation, 1.3, tint)

    def row_of_houses(self, rng: Rng, start: float, side: float, index: int) -> None:
        s = start
        edge = self.road.half_width_m + self.pavement + self.setback[index]
        while s < start + CHUNK_M:
            width, deep = rng.uniform(7.0, 17.0), rng.uniform(4.0, 8.0)
            storey = rng.uniform(2.7, 3.4)
            tall = storey * rng.integers(1, 6)
            if rng.random() < self.houses[index]:
                self.house(rng, s + width / 2, side, edge + rng.uniform(0, 1.5), width / 2, deep, tall, storey)
            elif rng.random() < 0.5:
                self.tree_at(rng, s + width / 2, side * (edge + deep))
            # A second, taller row closes the view between the houses.
            far = edge + 2 * deep + rng.uniform(8.0, 30.0)
            if rng.random() < 0.6:
                self.house(rng, s + width / 2, side, far, rng.uniform(5, 10), 5.0, tall + rng.uniform(0, 9), storey)
            else:
                self.tree_at(rng, s + width / 2, side * far)
            s += width + (0.0 if rng.random() < 0.6 else rng.uniform(0.5, 5.0))

    def house(
        self, rng: Rng, s: float, side: float, front: float, half_width: float, deep: float, tall: float, storey: float
    ) -> None:
        b = self.b
        p, heading = self.place(s, side * (front + deep))
        if not self.clear(p[0], p[1], math.hypot(half_width, deep) * 0.85):
            return
        heading += rng.normal(0.0, 0.02)
        r = turn(heading)
        wall = b.pick(rng, "facade", "facade", "facade", "bricks", "plaster")
        tint = rng.uniform(0.75, 1.15) * (1.0 + rng.uniform(-0.12, 0.12, 3))
        base = p - [0, 0, 0.5]
        tile = (storey * rng.uniform(1.5, 2.4), 2 * storey)
        half = (half_width, deep, tall / 2 + 0.25)
        b.box(base + [0, 0, half[2]], half, (wall, wall, b.pick(rng, "concrete")), r, tile, tint)
        towards = -side * r[:, 1]
        top = p + [0, 0, tall]
        if rng.random() < 0.6:  # a pitched roof: a box on its edge, its upper half above the walls
            lean = rng.uniform(0.35, 0.75)
            slab = deep / math.cos(lean) / 2 + 0.3
            for sign in (-1.0, 1.0):
                roof_r = r @ turn(0.0, 0.0, sign * lean)
                centre = top + r[:, 1] * (-sign * deep / 2) + [0, 0, math.tan(lean) * deep / 2]
                b.box(centre, (half_width + 0.3, slab, 0.12), b.pick(rng, "roof"), roof_r, 3.0, tint)
            for end in (-1.0, 1.0):
                b.ellipsoid(
                    top + r[:, 0] * end * half_width * 0.98, (0.05, deep * 0.95, math.tan(lean) * deep * 0.9), wall, r
                )
            for _ in range(rng.integers(0, 3)):
                at = top + r[:, 0] * rng.uniform(-0.8, 0.8) * half_width + [0, 0, math.tan(lean) * deep]
                b.box(at, (0.3, 0.3, 1.2), b.pick(rng, "bricks"), r, 1.0)
        else:
            b.box(top + [0, 0, 0.2], (half_width + 0.15, deep + 0.15, 0.25), b.pick(rng, "concrete"), r, 2.0)
        face = p + towards * (deep + 0.02)
        at = face + r[:, 0] * rng.uniform(-0.7, 0.7) * half_width
        b.box(at + [0, 0, 1.05], (0.55, 0.06, 1.1), b.pick(rng, "door"), r, "fit")
        b.box(at + [0, 0, 0.0] + towards * 0.4, (0.8, 0.5, 0.12), b.pick(rng, "concrete"), r)
        if rng.random() < 0.4:
            b.box(
                face + [0, 0, 2.7], (half_width * 0.8, 0.1, 0.35), b.pick(rng, "poster"), r, (5.0, 0.7), shift=(0, 0.5)
            )
            b.box(face + towards * 0.6 + [0, 0, 2.3], (half_width * 0.6, 0.7, 0.05), b.pick(rng, "fabric"),
                  r @ turn(0.0, 0.0, -0.35 * side), 1.5)  # fmt: skip
        for k in range(1, int(tall / storey)):
            if rng.random() < 0.35:
                at = face + towards * 0.5 + r[:, 0] * rng.uniform(-0.6, 0.6) * half_width + [0, 0, k * storey]
                b.box(at, (1.4, 0.55, 0.08), b.pick(rng, "concrete"), r)
                b.box(at + towards * 0.5 + [0, 0, 0.5], (1.4, 0.03, 0.45), b.pick(rng, "metal", "glass"), r, 0.8)

    def tree_at(self, rng: Rng, s: float, left: float) -> None:
        p, _ = self.place(s, left)
        tall, radius = rng.uniform(1.8, 4.0), rng.uniform(0.09, 0.28)
        if not self.clear(p[0], p[1], radius):
            return
        b = self.b
        top = p + [rng.normal(0, 0.15), rng.normal(0, 0.15), tall + 0.6]
        b.cone(p - [0, 0, 0.3], top, radius, b.pick(rng, "bark"), 0.6 * radius, (0.7, 1.6))
        leaf, spread = b.pick(rng, "foliage"), rng.uniform(1.0, 2.6)
        tint = rng.uniform(0.7, 1.2) * (1.0 + rng.uniform(-0.1, 0.1, 3))
        if rng.random() < 0.2:  # a conifer
            for k in range(4):
                low = p + [0, 0, 0.8 + 1.5 * k]
                b.cone(low, low + [0, 0, 2.3], spread * (1.0 - 0.2 * k), leaf, 0.05, 1.2, tint)
            return
        for _ in range(int(rng.integers(9, 17))):
            offset = np.clip(rng.normal(0, 0.42, 3), -0.8, 0.8) * [spread, spread, 0.8 * spread]
            size = spread * rng.uniform(0.3, 0.62, 3) * [1, 1, 0.8]
            b.ellipsoid(top + offset + [0, 0, 0.75 * spread], size, leaf, turn(*rng.uniform(0, 6, 3)), 1.6, tint)
        for _ in range(3):
            b.cone(top - [0, 0, 0.5], top + rng.normal(0, 0.6, 3) * spread + [0, 0, spread], 0.5 * radius,
                   b.pick(rng, "bark"), 0.02)  # fmt: skip

    def bush(self, rng: Rng, s: float, left: float) -> None:
        p, heading = self.place(s, left)
        size = rng.uniform(0.4, 1.1)
        if not self.clear(p[0], p[1], size):
            return
        leaf, tint = self.b.pick(rng, "foliage"), rng.uniform(0.7, 1.2) * np.ones(3)
        if rng.random() < 0.3:  # a hedge
            half = (rng.uniform(1.5, 4.0), 0.4, rng.uniform(0.5, 1.0))
            if self.clear(p[0], p[1], half[0]):
                self.b.box(p + [0, 0, half[2] - 0.1], half, leaf, turn(heading), 1.4, tint)
            return
        for _ in range(int(rng.integers(2, 6))):
            offset = rng.normal(0, 0.4, 3) * size * [1, 1, 0.4]
            self.b.ellipsoid(p + offset + [0, 0, 0.5 * size], size * rng.uniform(0.4, 0.9, 3), leaf, None, 1.3, tint)

    def car(self, rng: Rng, s: float, left: float, along: float) -> None:
        p, heading = self.place(s, left)
        parked_car(self.b, rng, p, turn(heading + (math.pi if along > 0 else 0.0) + rng.normal(0, 0.02)))

    def posts(self, rng: Rng, start: float, side: float, edge: float) -> None:
        b, near = self.b, self.road.half_width_m + 0.45
        grey = (0.55, 0.56, 0.55)
        if rng.random() < 0.7:  # a lamp
            p, heading = self.place(start + rng.uniform(0, 8), side * near)
            arm = -side * turn(heading)[:, 1] * rng.uniform(1.0, 2.2)
            tall = rng.uniform(5.0, 8.0)
            b.cone(p - [0, 0, 0.2], p + [0, 0, tall], 0.085, b.pick(rng, "metal"), 0.05, 0.6, grey)
            b.cone(p + [0, 0, tall - 0.05], p + arm + [0, 0, tall + 0.2], 0.04, b.pick(rng, "metal"), None, 0.6, grey)
            b.ellipsoid(p + arm + [0, 0, tall + 0.15], (0.4, 0.2, 0.1), b.pick(rng, "metal"), turn(heading))
        for _ in range(rng.poisson(0.9)):  # traffic signs
            p, heading = self.place(start + rng.uniform(8, CHUNK_M), side * near)
            b.cone(p, p + [0, 0, 2.5], 0.035, b.pick(rng, "metal"), None, 0.5, grey)
            r = turn(heading + rng.normal(0, 0.15))
            if rng.random() < 0.5:
                tint = [(0.9, 0.15, 0.12), (0.15, 0.3, 0.8), (0.95, 0.8, 0.1)][rng.integers(3)]
                b.ellipsoid(p + [0, 0, 2.3], (0.03, 0.32, 0.32), b.pick(rng, "paint"), r, 1.0, tint)
                b.ellipsoid(p + [0, 0, 2.3], (0.04, 0.22, 0.22), b.pick(rng, "paint"), r, 1.0, (0.9, 0.9, 0.88))
            else:
                b.box(
                    p + [0, 0, 2.2],
                    (0.02, rng.uniform(0.25, 0.8), rng.uniform(0.2, 0.5)),
                    b.pick(rng, "poster"),
                    r,
                    "fit",
                )
        for _ in range(rng.poisson(0.8)):  # bins, boxes, hydrants, bollards
            p, heading = self.place(start + rng.uniform(0, CHUNK_M), side * (near + rng.uniform(0.1, 1.0)))
            if not self.clear(p[0], p[1], 0.4):
                continue
            if rng.random() < 0.5:
                half = (rng.uniform(0.2, 0.6), rng.uniform(0.15, 0.35), rng.uniform(0.4, 0.8))
                b.box(
                    p + [0, 0, half[2]],
                    half,
                    b.pick(rng, "metal", "poster"),
                    turn(heading),
                    "fit",
                    rng.uniform(0.3, 1, 3),
                )
            else:
                b.cone(p, p + [0, 0, rng.uniform(0.5, 1.1)], rng.uniform(0.06, 0.28), b.pick(rng, "metal", "paint"),
                       None, 0.5, rng.uniform(0.2, 1.0, 3))  # fmt: skip

    def fence(self, rng: Rng, s: float, left: float) -> None:
        b, length = self.b, rng.uniform(6.0, 18.0)
        tall, solid = rng.uniform(0.8, 1.9), rng.random() < 0.4
        texture = b.pick(rng, "bricks", "concrete", "wood") if solid else b.pick(rng, "metal", "wood")
        step = 3.0 if solid else 1.5
        tint = rng.uniform(0.4, 1.1) * np.ones(3)
        for at in np.arange(s, s + length, step):
            p, heading = self.place(at, left)
            q, _ = self.place(at + step, left)
            if not (self.clear(p[0], p[1], 0.2) and self.clear(q[0], q[1], 0.2)):
                return
            run = q - p
            r = turn(math.atan2(run[1], run[0]))
            if solid:
                b.box(
                    0.5 * (p + q) + [0, 0, tall / 2],
                    (0.5 * float(np.hypot(*run[:2])), 0.12, tall / 2 + 0.1),
                    texture,
                    r,
                    2.0,
                    tint,
                )
                continue
            b.cone(p, p + [0, 0, tall], 0.04, texture, None, 0.5, tint)
            for level in (0.25, 0.6, 0.95):
                b.cone(p + [0, 0, level * tall], q + [0, 0, level * tall], 0.022, texture, None, 0.5, tint)

    def overhead(self, rng: Rng, start: float) -> None:
        """Wires on wooden poles along one side of the road."""
        b, left = self.b, self.road.half_width_m + 0.6
        if self.b.seed % 3 == 2:
            return
        for step in range(2):
            s = start + step * CHUNK_M / 2
            p, heading = self.place(s, left)
            q, _ = self.place(s + CHUNK_M / 2, left)
            b.cone(p - [0, 0, 0.2], p + [0, 0, 7.5], 0.13, b.atlas["bark"][0], 0.09)
            across = turn(heading)[:, 1]
            b.box(p + [0, 0, 7.0], (0.06, 0.8, 0.06), b.atlas["wood"][0], turn(heading))
            for side in (-0.7, 0.0, 0.7):
                ends = [v + side * across + [0, 0, 7.1] for v in (p, q)]
                middle = 0.5 * (ends[0] + ends[1]) - [0, 0, 0.35]
                for a, c in ((ends[0], middle), (middle, ends[1])):
                    b.cone(a, c, 0.016, b.atlas["metal"][0], None, 1.0, (0.15, 0.15, 0.15), casts=False)


class _Yard(_Street):
    """A narrow path without kerbs, cars or paint, and clutter beside it."""

    def __init__(self, builder: SceneBuilder, road: Road, rng: Rng) -> None:
        super().__init__(builder, road, rng)
        path = builder.pick(rng, "cover", "paving", "concrete")
        textures = (path, *self.ground.textures[2:], self.ground.textures[3])
        self.ground = replace(
            self.ground, pavement=0.0, centre_line=0.0, edge_line=0.0, crossing=0.0, textures=textures
        )
        self.pavement = 0.0

    def fill(self, rng: Rng, start: float) -> None:
        """Add what stands along ``CHUNK_M`` metres of the path."""
        edge = self.road.half_width_m
        for side in (1.0, -1.0):
            for _ in range(rng.poisson(5.0)):
                self.tree_at(rng, start + rng.uniform(0, CHUNK_M), side * (edge + rng.uniform(0.5, 18.0)))
            for _ in range(rng.poisson(4.0)):
                self.bush(rng, start + rng.uniform(0, CHUNK_M), side * (edge + rng.uniform(0.5, 10.0)))
            for _ in range(rng.poisson(9.0)):
                self.thing(rng, start + rng.uniform(0, CHUNK_M), side * (edge + rng.gamma(1.5, 2.0)))
            self.posts(rng, start, side, edge)
            if rng.random() < 0.7:
                self.fence(rng, start + rng.uniform(0, 15.0), side * (edge + rng.uniform(0.3, 6.0)))
            if rng.random() < 0.5:
                far = edge + rng.uniform(14.0, 30.0)
                self.house(rng, start + rng.uniform(0, CHUNK_M), side, far, rng.uniform(5, 12), 5.0, 3.0, 3.0)

    def thing(self, rng: Rng, s: float, left: float) -> None:
        """Add a crate, a stack of crates, a barrel, a rock, a ball or a leaning pole."""
        p, _ = self.place(s, left)
        b, size, kind = self.b, rng.uniform(0.2, 0.7), rng.integers(5)
        if not self.clear(p[0], p[1], size):
            return
        tint = rng.uniform(0.35, 1.1, 3)
        if kind == 0:
            r = turn(rng.uniform(0, 6))
            for level in range(int(rng.integers(1, 4))):
                centre = p + [0, 0, size * (2 * level + 1)]
                b.box(centre, (size, size, size), b.pick(rng, "wood", "door", "poster", "metal"), r, "fit", tint)
        elif kind == 1:
            b.cone(p, p + [0, 0, 2.2 * size], 0.75 * size, b.pick(rng, "metal", "wood"), None, 0.8, tint)
        elif kind == 2:
            for _ in range(3):
                half, offset = size * rng.uniform(0.4, 1.1, 3), rng.normal(0, 0.4 * size, 3) * [1, 1, 0.3]
                b.ellipsoid(
                    p + offset,
                    half,
                    b.pick(rng, "concrete", "cover"),
                    turn(*rng.uniform(0, 6, 3)),
                    0.9,
                    0.9 * np.ones(3),
                )
        elif kind == 3:
            b.ellipsoid(p + [0, 0, size], (size,) * 3, b.pick(rng, "fabric", "poster", "paint"), None, size, tint)
        else:
            top = p + rng.normal(0, 0.4, 3) * [1, 1, 0] + [0, 0, rng.uniform(1.0, 3.5)]
            b.cone(p, top, rng.uniform(0.015, 0.06), b.pick(rng, "wood", "metal"), None, 0.5, tint)


def parked_car(b: SceneBuilder, rng: Rng, p: NDArray[np.float64], r: NDArray[np.float64]) -> None:
    """Add a car that stands on ``p`` and faces along the first axis of ``r``."""
    tones = [
        (0.85, 0.85, 0.85),
        (0.12, 0.12, 0.14),
        (0.5, 0.52, 0.55),
        (0.6, 0.1, 0.1),
        (0.12, 0.2, 0.42),
        (0.3, 0.35, 0.3),
    ]
    tint = np.clip(np.array(tones[rng.integers(len(tones))]) + rng.uniform(-0.08, 0.08, 3), 0.04, 1.0)
    paint, glass, dark = b.pick(rng, "paint"), b.pick(rng, "glass"), b.pick(rng, "metal")
    long, wide, low = rng.uniform(1.75, 2.4), rng.uniform(0.8, 0.92), rng.uniform(0.5, 0.62)
    van = rng.random() < 0.2
    roof = rng.uniform(0.55, 0.8) if van else rng.uniform(0.28, 0.36)
    cabin, back = (0.8 * long, -0.15 * long) if van else (rng.uniform(0.5, 0.62) * long, rng.uniform(-0.3, -0.1))

    def at(x: float, y: float, z: float) -> NDArray[np.float64]:
        return p + r @ np.array([x, y, z])

    body = 0.3 + low / 2
    b.box(at(0, 0, body), (0.92 * long, wide, low / 2), paint, r, 3.0, tint)
    for end in (-1.0, 1.0):
        b.ellipsoid(at(end * 0.9 * long, 0, body - 0.02), (0.28, wide * 0.97, 0.5 * low), paint, r, 3.0, tint)
    b.ellipsoid(at(0.55 * long, 0, 0.27 + low), (0.45 * long, 0.9 * wide, 0.1), paint, r, 3.0, tint)
    z = 0.3 + low + roof / 2
    b.box(at(back, 0, z), (0.8 * cabin, 0.9 * wide, roof / 2), glass, r, 1.5)
    for end, lean in ((1.0, -0.75), (-1.0, 0.5)):  # slanted panes before and behind
        b.box(
            at(back + end * 0.8 * cabin, 0, z - 0.03), (0.05, 0.86 * wide, 0.62 * roof), glass, r @ turn(0.0, lean), 1.5
        )
    b.ellipsoid(at(back, 0, 0.3 + low + roof - 0.02), (0.95 * cabin, 0.9 * wide, 0.1), paint, r, 3.0, tint)
    for side in (-1.0, 1.0):
        for x in (-0.15 * cabin, 0.78 * cabin, -0.78 * cabin):
            b.cone(at(back + x, side * 0.9 * wide, 0.3 + low), at(back + 0.9 * x, side * 0.84 * wide, 0.3 + low + roof),
                   0.04, paint, None, 3.0, tint)  # fmt: skip
        for x in (-0.6, 0.62):
            hub = at(x * long, side * (wide - 0.12), 0.31)
            out = r @ np.array([0, side * 0.14, 0.0])
            b.cone(hub, hub + out, 0.31, dark, None, 0.3, (0.1, 0.1, 0.1))
            b.cone(hub + 0.95 * out, hub + 1.05 * out, 0.19, dark, 0.15, 0.3, (0.8, 0.8, 0.82))
        b.ellipsoid(
            at(0.95 * long + 0.1, side * 0.62 * wide, body + 0.06), (0.12, 0.17, 0.09), dark, r, 1.0, (1, 1, 0.9)
        )
        b.ellipsoid(
            at(-0.95 * long - 0.1, side * 0.7 * wide, body + 0.08), (0.1, 0.12, 0.1), dark, r, 1.0, (0.8, 0.1, 0.1)
        )
    b.box(at(1.0 * long + 0.12, 0, body - 0.12), (0.03, 0.27, 0.06), dark, r, 1.0, (1.3, 1.3, 1.25))
