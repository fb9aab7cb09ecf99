"""A desk or a wall of shelves seen from half a metre: screens, keyboards, books, cups, papers, tools."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from featdepth_ros.simulation.render.scene import Light, Scene, SceneBuilder, Vector, turn
from featdepth_ros.simulation.scenes.furniture import Rng, bookcase, picture, trinket
from featdepth_ros.simulation.scenes.room import FreeSpace, finish_indoors, furnish_wall, shell

#: Height of a desk's top, metres.
TOP_M = 0.74


@dataclass(frozen=True)
class Worktop(FreeSpace):
    """Free space in front of objects that the camera observes from a short distance.

    Attributes:
        focus_low, focus_high: corners (m) of the box around the observed objects, world axes.
    """

    focus_low: tuple[float, float, float] = (0.0, 0.0, 0.0)
    focus_high: tuple[float, float, float] = (0.0, 0.0, 0.0)


def make_desk(seed: int) -> Scene:
    """Build a room that has a full desk and shelves above it along one wall, or only a wall of shelves."""
    rng = np.random.default_rng([seed, 13])
    b = SceneBuilder("desk", seed)
    size = np.array([rng.uniform(3.5, 6.5), rng.uniform(3.2, 5.5), rng.uniform(2.4, 3.0)])
    shell(b, rng, size)
    for wall in (0, 1, 2):
        furnish_wall(b, rng, size, wall)
    front = -size[1] / 2  # the observed wall: x runs along it, y into the room
    wide = float(rng.uniform(1.3, 2.6))
    if rng.random() < 0.7:
        deep = float(rng.uniform(0.6, 0.9))
        _full_desk(b, rng, front, wide, deep)
        focus = ((-0.45 * wide, front + 0.1, TOP_M), (0.45 * wide, front + deep, TOP_M + 0.35))
    else:
        deep, at = 0.3, -wide / 2
        while at < wide / 2:
            at += bookcase(b, rng, np.array([at, front, 0.0]), np.eye(3), 1.6, size[2]) + float(rng.uniform(0.02, 0.2))
        focus = ((-0.45 * wide, front + 0.1, 0.3), (0.45 * wide, front + deep, 1.7))
    dim = float(rng.uniform(0.2, 0.7))
    lamp = rng.uniform(-0.5, 0.5, 2)
    light = Light(
        (float(lamp[0]), float(lamp[1]), 1.0), (dim, 0.96 * dim, 0.88 * dim), (0.75, 0.75, 0.75), (0.65, 0.63, 0.6)
    )
    near = front + deep
    free = Worktop((-0.4 * wide, near + 0.1, 0.95), (0.4 * wide, near + 0.8, 1.5), -math.pi / 2, *focus)
    return finish_indoors(b, free, light, shadow_cell_m=0.015)


def _full_desk(b: SceneBuilder, rng: Rng, front: float, wide: float, deep: float) -> None:
    """Add a desk along the wall at y = ``front``, and the objects on it."""

    def at(x: float, y: float, z: float = 0.0) -> Vector:
        return np.array([x, front + y, TOP_M + 0.005 + z])

    board, leg = b.pick(rng, "wood", "paint"), b.pick(rng, "metal", "wood")
    b.box((0.0, front + 0.5 * deep, TOP_M - 0.015), (0.5 * wide, 0.5 * deep, 0.02), board, None, 1.2)
    for x in (-0.47 * wide, 0.47 * wide):
        for y in (0.06, deep - 0.06):
            b.cone((x, front + y, 0.0), (x, front + y, TOP_M), 0.03, leg, None, 0.5)
    for x in np.linspace(-0.32, 0.32, int(rng.integers(1, 4))) * wide:
        if rng.random() < 0.75:
            _screen(b, rng, at(float(x), float(rng.uniform(0.12, 0.25))))
            if rng.random() < 0.7:
                _keyboard(b, rng, at(float(x) + float(rng.normal(0.0, 0.05)), deep - float(rng.uniform(0.12, 0.3))))
    for _ in range(int(rng.integers(1, 5))):
        _books(b, rng, at(float(rng.uniform(-0.45, 0.45)) * wide, float(rng.uniform(0.12, 0.9)) * deep))
    for _ in range(int(rng.integers(1, 6))):  # sheets of paper
        half = (float(rng.uniform(0.08, 0.16)), float(rng.uniform(0.08, 0.16)), 0.001)
        sheet = at(float(rng.uniform(-0.45, 0.45)) * wide, float(rng.uniform(0.3, 0.9)) * deep, 0.002)
        b.box(sheet, half, b.pick(rng, "poster", "paint"), turn(rng.uniform(0, 6.3)), "fit")
    for _ in range(int(rng.integers(5, 15))):
        place = at(float(rng.uniform(-0.48, 0.48)) * wide, float(rng.uniform(0.08, 0.95)) * deep)
        trinket(b, rng, place, float(rng.uniform(0.03, 0.2)))
    for _ in range(int(rng.integers(2, 8))):  # pens, cables, tools
        a = at(float(rng.uniform(-0.45, 0.45)) * wide, float(rng.uniform(0.2, 0.9)) * deep, 0.008)
        run = float(rng.uniform(0.08, 0.5)) * turn(rng.uniform(0, 6.3))[:, 0]
        b.cone(a, a + run, float(rng.uniform(0.003, 0.012)), b.pick(rng, "metal", "paint"), None, 0.3,
               rng.uniform(0.1, 1.0, 3))  # fmt: skip
    _above(b, rng, front, wide)


def _screen(b: SceneBuilder, rng: Rng, foot: Vector) -> None:
    """Add a screen or the lid of a laptop, which stands on ``foot``."""
    r, glow = turn(rng.normal(0.0, 0.2), rng.normal(0.0, 0.05)), float(rng.choice([0.0, 0.6]))
    half = (float(rng.uniform(0.16, 0.36)), 0.015, float(rng.uniform(0.11, 0.22)))
    low = float(rng.choice([0.02, 0.12]))
    case, lit = b.pick(rng, "metal"), b.pick(rng, "poster", "outlook", "glass")
    b.box(foot + [0, 0, low + half[2]], half, case, r, 0.5, float(rng.uniform(0.1, 0.9)) * np.ones(3))
    inner = (half[0] - 0.012, 0.016, half[2] - 0.012)
    b.box(foot + [0, 0, low + half[2]], inner, (case, lit, case), r, "fit", glow=glow)
    b.cone(foot, foot + [0, 0, low + 0.1], 0.025, case, None, 0.3, 0.3 * np.ones(3))
    b.box(foot + [0, 0, 0.006], (0.11, 0.08, 0.006), case, r, 0.5, 0.3 * np.ones(3))


def _keyboard(b: SceneBuilder, rng: Rng, centre: Vector) -> None:
    """Add a keyboard with rows of keys, and a mouse beside it."""
    r, tone = turn(rng.normal(0.0, 0.15)), float(rng.uniform(0.1, 1.0))
    paint = b.pick(rng, "paint")
    b.box(centre + [0, 0, 0.008], (0.21, 0.07, 0.008), paint, r, 0.5, tone * np.ones(3))
    for row in range(4):
        for key in range(11):
            place = centre + r @ np.array([0.036 * (key - 5) + 0.006 * (row % 2), 0.033 * (row - 1.5), 0.019])
            b.box(place, (0.015, 0.014, 0.004), paint, r, 0.2, (0.35 + 0.6 * tone) * np.ones(3))
    b.ellipsoid(centre + r @ np.array([0.3, 0.0, 0.015]), (0.035, 0.055, 0.018), paint, r, 0.3, tone * np.ones(3))


def _books(b: SceneBuilder, rng: Rng, foot: Vector) -> None:
    """Add a pile of books."""
    z = 0.0
    for _ in range(int(rng.integers(1, 6))):
        half = (float(rng.uniform(0.08, 0.16)), float(rng.uniform(0.06, 0.12)), float(rng.uniform(0.005, 0.025)))
        cover = b.pick(rng, "poster", "paint", "fabric")
        b.box(foot + [0, 0, z + half[2]], half, cover, turn(rng.normal(0.0, 0.4)), "fit", rng.uniform(0.4, 1.1, 3))
        z += 2 * half[2]


def _above(b: SceneBuilder, rng: Rng, front: float, wide: float) -> None:
    """Add shelves with objects, or pictures, above the desk."""
    for z in (1.25, 1.6):
        if rng.random() < 0.5:
            b.box((0.0, front + 0.13, z), (0.5 * wide, 0.13, 0.012), b.pick(rng, "wood"), None, 0.8)
            for x in np.arange(-0.45 * wide, 0.42 * wide, 0.16):
                if rng.random() < 0.6:
                    trinket(b, rng, np.array([x, front + 0.13, z + 0.012]), float(rng.uniform(0.08, 0.24)))
        elif rng.random() < 0.5:
            place = np.array([float(rng.uniform(-0.3, 0.3)) * wide, front + 0.015, z + 0.1])
            picture(b, rng, place, np.eye(3), float(rng.uniform(0.1, 0.3)), 0.14)
