"""Furniture and small objects: along the walls of a room, on its walls, and on tables.

A function for a piece at a wall takes the lower left corner ``p`` of its place. ``r`` is a rotation (x along the wall,
y into the room). ``space`` is the remaining width (m), and ``ceiling`` is the height of the room (m). The function
returns the width (m) that the piece occupies.
"""

from __future__ import annotations

import math

import numpy as np

from featdepth_ros.simulation.render.scene import SceneBuilder, Vector, turn

Rng = np.random.Generator


def bookcase(b: SceneBuilder, rng: Rng, p: Vector, r: Vector, space: float, ceiling: float) -> float:
    """Add shelves with books."""
    wide, deep, tall = min(rng.uniform(0.7, 1.6), space), rng.uniform(0.25, 0.35), rng.uniform(1.2, 2.1)
    board, tint = b.pick(rng, "wood"), rng.uniform(0.7, 1.1) * np.ones(3)
    centre = p + r @ np.array([wide / 2, deep / 2, tall / 2])
    for side in (-1, 1):
        b.box(centre + r @ np.array([side * wide / 2, 0, 0]), (0.012, deep / 2, tall / 2), board, r, 0.8, tint)
    b.box(centre + r @ np.array([0, -deep / 2 + 0.01, 0]), (wide / 2, 0.01, tall / 2), board, r, 0.8, tint)
    levels = int(tall / 0.34)
    for k in range(levels + 1):
        z = k * tall / levels
        b.box(p + r @ np.array([wide / 2, deep / 2, z]), (wide / 2, deep / 2, 0.012), board, r, 0.8, tint)
        if k < levels:
            x = 0.03
            while x < wide - 0.15:
                run = min(rng.uniform(0.15, 0.6), wide - 0.05 - x)
                high = rng.uniform(0.6, 0.85) * tall / levels
                if rng.random() < 0.75:
                    centre_of_row = p + r @ np.array([x + run / 2, deep / 2, z + high / 2])
                    b.box(centre_of_row, (run / 2, rng.uniform(0.3, 0.48) * deep, high / 2),
                          b.pick(rng, "books"), r, (0.5, high), shift=(rng.uniform(), 0.5))  # fmt: skip
                elif rng.random() < 0.6:
                    trinket(b, rng, p + r @ np.array([x + run / 2, deep / 2, z + 0.012]), 0.5 * min(run, high))
                x += run + 0.02
    return wide


def trinket(b: SceneBuilder, rng: Rng, p: Vector, size: float) -> None:
    """Add a ball, vase, box or cup, which stands on ``p`` and is about ``size`` m wide and high."""
    texture, tint = b.pick(rng, "paint", "fabric", "poster", "metal", "wood"), rng.uniform(0.25, 1.1, 3)
    kind, h = rng.integers(4), 0.5 * size
    if kind == 0:
        b.ellipsoid(p + [0, 0, h], (h, h, h), texture, None, size, tint)
    elif kind == 1:
        b.cone(p, p + [0, 0, size * 1.1], h * 0.5, texture, h * 0.9, size, tint)
        b.ellipsoid(p + [0, 0, 0.5 * size], (h * 0.9, h * 0.9, h * 0.6), texture, None, size, tint)
    elif kind == 2:
        half = h * rng.uniform(0.5, 1.0, 3)
        b.box(p + [0, 0, half[2]], half, texture, turn(rng.uniform(0, 6)), "fit", tint)
    else:
        b.cone(p, p + [0, 0, size], h * 0.6, texture, None, size, tint)


def sofa(b: SceneBuilder, rng: Rng, p: Vector, r: Vector, space: float, ceiling: float) -> float:
    """Add a sofa or armchair with round arms and cushions."""
    wide, deep = min(rng.uniform(0.9, 2.2), space), 0.85
    if wide < 0.8:
        return 0.4
    cloth, tint = b.pick(rng, "fabric"), rng.uniform(0.6, 1.1, 3)

    def at(x: float, y: float, z: float) -> Vector:
        out: Vector = p + r @ np.array([x, y, z])
        return out

    b.box(at(wide / 2, deep / 2, 0.2), (wide / 2, deep / 2, 0.14), cloth, r, 0.7, tint)
    b.cone(at(0.02, 0.16, 0.62), at(wide - 0.02, 0.16, 0.62), 0.15, cloth, None, 0.7, tint)
    b.box(at(wide / 2, 0.14, 0.42), (wide / 2, 0.12, 0.2), cloth, r, 0.7, tint)
    for x in (0.1, wide - 0.1):
        b.cone(at(x, 0.05, 0.52), at(x, deep, 0.52), 0.12, cloth, None, 0.7, tint)
        b.box(at(x, deep / 2, 0.28), (0.1, deep / 2, 0.24), cloth, r, 0.7, tint)
    seats = max(int((wide - 0.3) / 0.6), 1)
    for k in range(seats):
        w = (wide - 0.4) / seats
        b.ellipsoid(at(0.2 + (k + 0.5) * w, 0.52, 0.38), (0.56 * w, 0.4, 0.14), cloth, r, 0.7, tint)
        if rng.random() < 0.6:
            lean = r @ turn(rng.uniform(-0.4, 0.4), 0.0, 0.5)
            b.ellipsoid(at(0.2 + (k + 0.5) * w, 0.38, 0.58), (0.22, 0.08, 0.2), b.pick(rng, "fabric"), lean, 0.4)
    return wide


def table(b: SceneBuilder, rng: Rng, centre: Vector, r: Vector, half: tuple[float, float], high: float) -> None:
    """Add a table on thin legs and a few things on it."""
    board, leg = b.pick(rng, "wood"), b.pick(rng, "metal", "wood")
    top = centre + [0, 0, high]
    if rng.random() < 0.3:
        b.cone(top - [0, 0, 0.03], top, min(half), board, None, 1.2)
        b.cone(centre, top, 0.04, leg)
        b.cone(centre, centre + [0, 0, 0.04], 0.6 * min(half), leg, 0.1)
        spread = 0.6 * min(half) * np.ones(2)
    else:
        b.box(top - [0, 0, 0.015], (*half, 0.02), board, r, 1.2)
        for x in (-1, 1):
            for y in (-1, 1):
                foot = centre + r @ np.array([x * (half[0] - 0.05), y * (half[1] - 0.05), 0])
                b.cone(foot, foot + [0, 0, high], 0.025, leg, None, 0.5)
        spread = np.array(half) * 0.8
    for _ in range(int(rng.integers(1, 6))):
        place = top + r @ np.array([*(rng.uniform(-1, 1, 2) * spread), 0.005])
        trinket(b, rng, place, rng.uniform(0.08, 0.26))


def chair(b: SceneBuilder, rng: Rng, centre: Vector, yaw: float) -> None:
    """Add a chair with thin legs, a seat and a back of slats."""
    r, wood_, cloth = turn(yaw), b.pick(rng, "wood", "metal"), b.pick(rng, "fabric", "wood")
    b.box(centre + [0, 0, 0.45], (0.21, 0.21, 0.025), cloth, r, 0.5)
    for x in (-0.19, 0.19):
        for y in (-0.19, 0.19):
            foot = centre + r @ np.array([x, y, 0])
            b.cone(foot, foot + [0, 0, 0.92 if x < 0 else 0.45], 0.016, wood_, None, 0.4)
    for z in (0.6, 0.72, 0.86):
        b.box(centre + r @ np.array([-0.19, 0, z]), (0.012, 0.2, 0.035), wood_, r, 0.5)


def desk(b: SceneBuilder, rng: Rng, p: Vector, r: Vector, space: float, ceiling: float) -> float:
    """Add a desk with a screen, and a chair in front of it."""
    wide, deep = min(rng.uniform(1.0, 1.7), space), 0.65
    if wide < 0.9:
        return 0.4
    table(b, rng, p + r @ np.array([wide / 2, deep / 2 + 0.02, 0]), r, (wide / 2, deep / 2), 0.74)
    if rng.random() < 0.7:
        at = p + r @ np.array([wide / 2, 0.2, 0.75])
        screen, case = b.pick(rng, "poster", "outlook", "glass"), b.pick(rng, "metal")
        b.box(at + [0, 0, 0.3], (0.3, 0.02, 0.18), (case, screen, case), r, "fit", glow=0.5)
        b.cone(at, at + [0, 0, 0.2], 0.03, b.pick(rng, "metal"), tint=(0.3, 0.3, 0.3))
    yaw = math.atan2(r[1, 1], r[0, 1]) + math.pi + rng.normal(0, 0.4)
    chair(b, rng, p + r @ np.array([wide / 2, deep + 0.1, 0]), yaw)
    return wide


def cupboard(b: SceneBuilder, rng: Rng, p: Vector, r: Vector, space: float, ceiling: float) -> float:
    """Add a chest or cupboard with doors, knobs and objects on top."""
    wide, deep, tall = min(rng.uniform(0.6, 1.5), space), rng.uniform(0.35, 0.55), rng.choice([0.5, 0.8, 1.05, 1.9])
    body = b.pick(rng, "wood", "paint")
    b.box(p + r @ np.array([wide / 2, deep / 2, tall / 2]), (wide / 2, deep / 2, tall / 2), body, r, 1.1)
    doors = max(int(wide / 0.5), 1)
    for k in range(doors):
        w = wide / doors
        b.box(p + r @ np.array([(k + 0.5) * w, deep + 0.005, tall / 2]), (w / 2 - 0.01, 0.012, tall / 2 - 0.03),
              b.pick(rng, "door", "wood", "paint"), r, "fit")  # fmt: skip
        b.ellipsoid(p + r @ np.array([(k + 0.85) * w, deep + 0.03, tall / 2]), (0.018,) * 3, b.pick(rng, "metal"))
    for _ in range(int(rng.integers(0, 4)) if tall < 1.2 else 0):
        trinket(b, rng, p + r @ np.array([rng.uniform(0.1, 0.9) * wide, deep / 2, tall]), rng.uniform(0.1, 0.3))
    if tall <= 1.1:
        picture(b, rng, p + r @ np.array([wide / 2, 0.015, tall + 0.65]), r, rng.uniform(0.2, 0.45), 0.3)
    return float(wide)


def picture(b: SceneBuilder, rng: Rng, centre: Vector, r: Vector, half_wide: float, half_high: float) -> None:
    """Add a framed picture on the wall."""
    b.box(centre, (half_wide + 0.03, 0.012, half_high + 0.03), b.pick(rng, "wood", "metal"), r, 0.5)
    b.box(centre, (half_wide, 0.018, half_high), b.pick(rng, "poster"), r, "fit")


def pictures(b: SceneBuilder, rng: Rng, p: Vector, r: Vector, space: float, ceiling: float) -> float:
    """Add one or two pictures on the wall."""
    wide = min(rng.uniform(0.5, 1.3), space)
    high = rng.uniform(0.2, 0.45)
    picture(b, rng, p + r @ np.array([wide / 2, 0.015, 1.5]), r, wide / 2 - 0.06, high)
    if rng.random() < 0.4:
        bench = b.pick(rng, "wood", "fabric")
        b.box(p + r @ np.array([wide / 2, 0.25, 0.3]), (wide / 2 - 0.05, 0.2, 0.3), bench, r, 0.8)
    return wide


def window(b: SceneBuilder, rng: Rng, p: Vector, r: Vector, space: float, ceiling: float) -> float:
    """Add a bright window with a frame, a sill and curtains with many folds."""
    wide = min(rng.uniform(0.9, 1.8), space)
    low, high = 0.9, ceiling - 0.35
    middle = p + r @ np.array([wide / 2, 0.0, (low + high) / 2])
    half = (wide / 2, 0.01, (high - low) / 2)
    b.box(middle, half, b.pick(rng, "outlook"), r, "fit", glow=0.8)
    frame, white = b.pick(rng, "paint"), (0.95, 0.95, 0.93)
    for x in (-1.0, 0.0, 1.0):
        b.box(middle + r @ np.array([x * half[0], 0.02, 0]), (0.03, 0.025, half[2]), frame, r, 1.0, white)
    for z in (-1.0, 0.3, 1.0):
        b.box(middle + r @ np.array([0, 0.02, z * half[2]]), (half[0], 0.025, 0.03), frame, r, 1.0, white)
    b.box(p + r @ np.array([wide / 2, 0.1, low - 0.03]), (half[0] + 0.05, 0.12, 0.02), frame, r, 1.0, white)
    if rng.random() < 0.7:
        cloth = b.pick(rng, "fabric")
        for side in (-1.0, 1.0):
            for k in range(5):
                x = wide / 2 + side * (half[0] - 0.07 * k)
                foot = p + r @ np.array([x, 0.09 + 0.02 * (k % 2), 0.15])
                b.cone(foot, foot + [0, 0, high], 0.045, cloth, None, 0.6)
        ends = [p + r @ np.array([x, 0.1, high + 0.17]) for x in (-0.1, wide + 0.1)]
        b.cone(ends[0], ends[1], 0.015, b.pick(rng, "metal"))
    return wide


def door(b: SceneBuilder, rng: Rng, p: Vector, r: Vector, space: float, ceiling: float) -> float:
    """Add a door with its frame."""
    if space < 1.0:
        return 0.3
    wood_ = b.pick(rng, "wood", "paint")
    b.box(p + r @ np.array([0.5, 0.0, 1.02]), (0.5, 0.03, 1.04), wood_, r, 1.0)
    b.box(p + r @ np.array([0.5, 0.01, 1.0]), (0.43, 0.035, 1.0), b.pick(rng, "door"), r, "fit")
    return 1.0


def plant(b: SceneBuilder, rng: Rng, p: Vector, r: Vector, space: float, ceiling: float) -> float:
    """Add a potted plant with thin stems and many leaves."""
    centre = p + r @ np.array([0.3, 0.35, 0.0])
    b.cone(centre, centre + [0, 0, 0.35], 0.13, b.pick(rng, "paint", "bricks"), 0.19, 0.5, rng.uniform(0.4, 1.0, 3))
    leaf, green = b.pick(rng, "paint"), np.array([0.25, 0.5, 0.15]) * rng.uniform(0.6, 1.3) + rng.uniform(0, 0.12, 3)
    for _ in range(int(rng.integers(8, 18))):
        way = rng.normal(0, 1, 3) * [0.2, 0.2, 0.1] + [0, 0, rng.uniform(0.3, 1.1)]
        tip = centre + [0, 0, 0.33] + way
        b.cone(centre + [0, 0, 0.33], tip, 0.008, leaf, 0.004, 0.3, 0.7 * green)
        hang = turn(*rng.uniform(-1.0, 1.0, 3) * [3, 0.7, 0.7])
        b.ellipsoid(tip, (0.16, 0.07, 0.012), leaf, hang, 0.4, rng.uniform(0.7, 1.2) * green)
    return 0.65


def floor_lamp(b: SceneBuilder, rng: Rng, p: Vector, r: Vector, space: float, ceiling: float) -> float:
    """Add a floor lamp with a thin pole and a conical shade."""
    centre, tall = p + r @ np.array([0.25, 0.25, 0.0]), rng.uniform(1.2, 1.6)
    b.cone(centre, centre + [0, 0, 0.03], 0.15, b.pick(rng, "metal"))
    b.cone(centre, centre + [0, 0, tall], 0.014, b.pick(rng, "metal"))
    b.cone(centre + [0, 0, tall - 0.1], centre + [0, 0, tall + 0.2], 0.2, b.pick(rng, "fabric"), 0.12, 0.5, glow=0.5)
    return 0.5


def radiator(b: SceneBuilder, rng: Rng, p: Vector, r: Vector, space: float, ceiling: float) -> float:
    """Add a radiator with vertical pipes."""
    count = int(min(float(rng.integers(5, 14)), max((space - 0.1) / 0.07, 1.0)))
    metal = b.pick(rng, "paint")
    for k in range(count):
        foot = p + r @ np.array([0.05 + 0.07 * k, 0.09, 0.12])
        b.cone(foot, foot + [0, 0, 0.6], 0.028, metal, tint=(0.93, 0.93, 0.9))
    for z in (0.17, 0.66):
        b.cone(p + r @ np.array([0.02, 0.09, z]), p + r @ np.array([0.07 * count, 0.09, z]), 0.022, metal)
    return 0.07 * count + 0.1
