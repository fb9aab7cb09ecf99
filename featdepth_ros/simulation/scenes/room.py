"""A furnished room: walls with pictures, shelves, tables, chairs, a sofa, lamps, plants and small objects."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from featdepth_ros.simulation.render.scene import Light, Scene, SceneBuilder, Sky, Vector, turn
from featdepth_ros.simulation.scenes.furniture import (
    Rng,
    bookcase,
    chair,
    cupboard,
    desk,
    door,
    floor_lamp,
    pictures,
    plant,
    radiator,
    sofa,
    table,
    trinket,
    window,
)


@dataclass(frozen=True)
class FreeSpace:
    """The free space of a hand-held camera: a box without furniture.

    Attributes:
        low, high: corners (m), world axes.
        facing_rad: mean heading of the camera; None: it may look in any direction.
    """

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    facing_rad: float | None = None


def make_room(seed: int) -> Scene:
    """Build a room. Its middle is free above the objects on the table."""
    rng = np.random.default_rng([seed, 11])
    b = SceneBuilder("room", seed)
    size = np.array([rng.uniform(4.2, 8.5), rng.uniform(3.8, 6.5), rng.uniform(2.4, 3.1)])
    shell(b, rng, size)
    for wall in range(4):
        furnish_wall(b, rng, size, wall)
    middle(b, rng, size)
    lamp = rng.uniform(-0.35, 0.35, 2)
    dim = float(rng.uniform(0.25, 0.6))
    light = Light(
        (float(lamp[0]), float(lamp[1]), 1.0), (dim, 0.96 * dim, 0.85 * dim), (0.8, 0.8, 0.8), (0.72, 0.7, 0.67)
    )
    free = FreeSpace((-size[0] / 2 + 1.25, -size[1] / 2 + 1.25, 1.18), (size[0] / 2 - 1.25, size[1] / 2 - 1.25, 1.7))
    return finish_indoors(b, free, light, shadow_cell_m=0.03)


#: Remaining share of every texture's contrast in a textureless room: below two grey levels on its walls and floor.
TEXTURELESS_CONTRAST = 0.08


def make_textureless_room(seed: int) -> Scene:
    """Build the room of the same seed with nearly one colour everywhere, so that only outlines and shading remain."""
    scene = make_room(seed)
    atlas = scene.data.atlas.astype(np.float32)
    colours = atlas[:, :, :3]
    mean = colours.mean(axis=1, keepdims=True)
    atlas[:, :, :3] = mean + TEXTURELESS_CONTRAST * (colours - mean)
    data = scene.data._replace(atlas=np.round(atlas).astype(np.uint8))
    return dataclasses.replace(scene, kind="textureless", data=data)


def finish_indoors(b: SceneBuilder, free: FreeSpace, light: Light, shadow_cell_m: float) -> Scene:
    """Build a scene without road and sky."""
    no_arcs, no_grid, no_frame = np.zeros((1, 6)), np.zeros((1, 1), np.int32), np.array([0.0, 0.0, 1.0])
    return b.build(free, light, Sky(), None, no_arcs, no_grid, no_frame, shadow_cell_m, far_m=60.0)


def shell(b: SceneBuilder, rng: Rng, size: Vector) -> None:
    """Add floor, ceiling, walls and skirting boards."""
    x, y, z = size / 2
    floor = b.pick(rng, "wood", "wood", "paving", "fabric")
    b.box((0, 0, -0.1), (x + 0.2, y + 0.2, 0.1), floor, tile=rng.uniform(1.0, 1.8), casts=False)
    ceiling = b.pick(rng, "plaster")
    b.box((0, 0, size[2] + 0.1), (x + 0.2, y + 0.2, 0.1), ceiling, tile=2.0, tint=1.1 * np.ones(3), casts=False)
    wall = b.pick(rng, "plaster", "plaster", "fabric", "concrete")
    accent = b.pick(rng, "bricks", "wood", "fabric", "plaster")
    for i, (cx, cy, hx, hy) in enumerate(
        ((x + 0.1, 0, 0.1, y), (0, y + 0.1, x, 0.1), (-x - 0.1, 0, 0.1, y), (0, -y - 0.1, x, 0.1))
    ):
        tint = rng.uniform(0.8, 1.1) * np.ones(3)
        b.box((cx, cy, z), (hx, hy, z), accent if i == 0 else wall, tile=rng.uniform(1.2, 2.2), tint=tint, casts=False)
        inner = 0.02
        foot = (cx - np.sign(cx) * 0.1, cy - np.sign(cy) * 0.1, 0.05)
        b.box(foot, (max(hx - 0.1, inner), max(hy - 0.1, inner), 0.05),
              b.pick(rng, "wood", "paint"), tile=1.0, casts=False)  # fmt: skip
    for k in range(int(rng.integers(1, 4))):
        at = np.array([(k - 1) * 1.6 + rng.uniform(-0.3, 0.3), rng.uniform(-1, 1), size[2]])
        if rng.random() < 0.5:
            b.cone(at - [0, 0, 0.06], at, 0.2, b.pick(rng, "paint"), tile=1.0, glow=0.9, casts=False)
        else:
            b.cone(at - [0, 0, 0.4], at, 0.01, b.pick(rng, "metal"), tint=(0.2, 0.2, 0.2), casts=False)
            b.ellipsoid(at - [0, 0, 0.42], (0.2, 0.2, 0.14), b.pick(rng, "paint"), glow=0.8, tint=(1.1, 1.05, 0.9))


def wall_frame(size: Vector, wall: int) -> tuple[Vector, Vector, float]:
    """Return the middle of a wall's bottom edge, a rotation (x along it, y into the room) and its length (m)."""
    x, y = size[0] / 2, size[1] / 2
    foot = np.array([(x, 0, 0), (0, y, 0), (-x, 0, 0), (0, -y, 0)][wall])
    return foot, turn((wall + 1) * math.pi / 2), float(size[1 - wall % 2])


def furnish_wall(b: SceneBuilder, rng: Rng, size: Vector, wall: int) -> None:
    """Add furniture along one wall, and pictures on the rest of it."""
    foot, r, length = wall_frame(size, wall)
    pieces = (bookcase, sofa, desk, cupboard, window, door, plant, pictures, pictures, floor_lamp, radiator)
    at = -length / 2 + 0.35
    while at < length / 2 - 0.5:
        piece = pieces[int(rng.integers(len(pieces)))]
        room_left = length / 2 - 0.3 - at
        at += piece(b, rng, foot + r @ np.array([at, 0.0, 0.0]), r, room_left, size[2]) + rng.uniform(0.05, 0.5)


def middle(b: SceneBuilder, rng: Rng, size: Vector) -> None:
    """Add a rug and a table with chairs in the middle."""
    if rng.random() < 0.7:
        half = (rng.uniform(0.8, size[0] / 2 - 1.0), rng.uniform(0.6, size[1] / 2 - 1.0), 0.006)
        rug = b.pick(rng, "carpet", "fabric")
        b.box((rng.uniform(-0.4, 0.4), 0, 0.006), half, rug, turn(rng.normal(0, 0.1)), "fit")
    if rng.random() < 0.75:
        r = turn(rng.normal(0, 0.2))
        half2 = (rng.uniform(0.45, min(0.9, size[0] / 2 - 1.3)), rng.uniform(0.4, 0.55))
        high = float(rng.choice([0.45, 0.74]))
        centre = np.array([rng.uniform(-0.4, 0.4), rng.uniform(-0.3, 0.3), 0.0])
        table(b, rng, centre, r, half2, high)
        for k in range(int(rng.integers(0, 5))):
            side = 1.0 if k % 2 else -1.0
            at = centre + r @ np.array([rng.uniform(-0.7, 0.7) * half2[0], side * (half2[1] + 0.2), 0])
            chair(b, rng, at, -side * math.pi / 2 + rng.normal(0, 0.3))
    for _ in range(int(rng.integers(1, 4))):
        place = np.array([rng.uniform(-0.4, 0.4) * size[0], rng.uniform(-0.4, 0.4) * size[1], 0.01])
        trinket(b, rng, place, rng.uniform(0.15, 0.4))
