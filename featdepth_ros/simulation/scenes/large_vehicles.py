"""Large vehicles, which can fill the view: delivery vans, lorries and buses."""

from __future__ import annotations

import numpy as np

from featdepth_ros.simulation.render.scene import SceneBuilder
from featdepth_ros.simulation.scenes.outdoors import Rng, Vector
from featdepth_ros.simulation.scenes.vehicles import PAINTS

DARK = (0.12, 0.12, 0.13)


class _Chassis:
    """A builder in the axes of a vehicle: x forward, y left, z up, with the origin on the ground below its middle."""

    def __init__(self, b: SceneBuilder, rng: Rng, p: Vector, r: Vector) -> None:
        self.b, self.p, self.r = b, p, r
        self.paint, self.glass, self.metal = b.pick(rng, "paint"), b.pick(rng, "glass"), b.pick(rng, "metal")

    def at(self, x: float, y: float, z: float) -> Vector:
        """Return a point of the vehicle in world coordinates."""
        place: Vector = self.p + self.r @ np.array([x, y, z])
        return place

    def box(self, centre: tuple[float, float, float], half: tuple[float, float, float], texture: int | tuple[int, ...],
            tint: Vector | tuple[float, float, float] = (1.0, 1.0, 1.0), tile: float | str = 3.0) -> None:  # fmt: skip
        """Add a box by its centre and half extents."""
        self.b.box(self.at(*centre), half, texture, self.r, tile, tint)  # type: ignore[arg-type]

    def frustum(self, centre: tuple[float, float, float], half: tuple[float, float, float],
                taper: tuple[float, float], tint: Vector) -> None:  # fmt: skip
        """Add a painted part that narrows towards its top."""
        self.b.frustum(self.at(*centre), half, self.paint, taper, self.r, 3.0, tint)

    def wheels(self, axles: tuple[float, ...], track: float, radius: float) -> None:
        """Add a wheel with its hub on both sides of each axle."""
        for side in (-1.0, 1.0):
            out = self.r @ np.array([0.0, side * 0.28, 0.0])
            for x in axles:
                hub = self.at(x, side * (track - 0.28), radius)
                self.b.cone(hub, hub + out, radius, self.metal, None, 0.3, (0.1, 0.1, 0.1))
                cap = 0.55 * radius
                self.b.cone(hub + 0.97 * out, hub + 1.03 * out, cap, self.metal, 0.6 * cap, 0.3, (0.7, 0.7, 0.7))

    def lamps(self, ends: tuple[float, float], side: float, height: float) -> None:
        """Add headlamps, rear lamps and number plates at the front and the rear end (x)."""
        for y in (-side, side):
            self.box((ends[0], y, height), (0.03, 0.2, 0.11), self.metal, (1.3, 1.3, 1.15), 0.4)
            self.box((ends[1], y, height), (0.03, 0.12, 0.16), self.metal, (0.9, 0.1, 0.1), 0.4)
        for x in ends:
            self.box((x, 0.0, height - 0.25), (0.035, 0.26, 0.06), self.metal, (1.3, 1.3, 1.25), 1.0)


def _tint(rng: Rng) -> Vector:
    tint: Vector = np.clip(np.array(PAINTS[rng.integers(len(PAINTS))]) + rng.uniform(-0.08, 0.1, 3), 0.04, 1.0)
    return tint


def lorry(b: SceneBuilder, rng: Rng, p: Vector, r: Vector) -> float:
    """Add a lorry that stands on ``p`` and faces along the first axis of ``r``; its sides are plain, printed or ribbed.

    Returns:
        Its length, metres.
    """
    c = _Chassis(b, rng, p, r)
    long, wide, tall = float(rng.uniform(3.6, 7.0)), 1.25, float(rng.uniform(3.2, 4.0))
    cab, bed = float(rng.uniform(0.8, 1.1)), 1.05
    front = long - 2.0 * cab - 0.2
    side = b.pick(rng, "paint", "fabric", "poster", "metal")
    tile = "fit" if side in b.atlas["poster"] else float(rng.uniform(2.0, 5.0))
    cargo_tint = rng.uniform(0.55, 1.1) * (1.0 + rng.uniform(-0.15, 0.15, 3))
    middle, half = 0.5 * (front - long), 0.5 * (front + long)
    doors, body = b.pick(rng, "door", "metal"), (half, wide, 0.5 * (tall - bed))
    c.box((middle, 0.0, 0.5 * (bed + tall)), body, (doors, side, side), cargo_tint, tile)
    c.box((middle, 0.0, bed - 0.15), (half, 0.9, 0.15), c.metal, DARK, 1.5)
    for y in (-1.0, 1.0):  # guards between the axles
        c.box((middle, y * 1.15, 0.7), (0.35 * half, 0.03, 0.18), c.metal, (0.5, 0.5, 0.52), 1.0)
    tint, high = _tint(rng), float(rng.uniform(2.7, 3.3))
    c.frustum((long - cab, 0.0, 0.25 + 0.5 * high), (cab, 1.2, 0.5 * high - 0.2), (0.86, 0.95), tint)
    c.box((long - 0.12 * cab, 0.0, 0.72 * high), (0.06, 1.02, 0.32), c.glass, tile=1.5)
    c.box((long - 0.75 * cab, 0.0, 0.72 * high), (0.35 * cab, 1.185, 0.27), c.glass, tile=1.5)
    for y in (-1.35, 1.35):
        c.box((long - 0.35 * cab, y, 0.75 * high), (0.06, 0.1, 0.25), c.metal, DARK, 0.5)
    c.wheels((long - 1.0, 0.6 - long, 1.75 - long) if long > 4.5 else (long - 1.0, 1.0 - long), 1.22, 0.5)
    c.lamps((long + 0.01, -long - 0.01), 0.9, 0.75)
    return 2.0 * long


def bus(b: SceneBuilder, rng: Rng, p: Vector, r: Vector) -> float:
    """Add a bus that stands on ``p`` and faces along the first axis of ``r``.

    Returns:
        Its length, metres.
    """
    c = _Chassis(b, rng, p, r)
    long, tall, tint = float(rng.uniform(4.8, 6.2)), float(rng.uniform(2.9, 3.3)), _tint(rng)
    sill, top = 1.2, tall - 0.45
    c.box((0.0, 0.0, 0.5 * (0.35 + tall)), (long, 1.24, 0.5 * (tall - 0.35)), c.paint, tint)
    c.box((0.0, 0.0, 0.5 * (sill + top)), (0.985 * long, 1.255, 0.5 * (top - sill)), c.glass, tile=1.5)
    c.box((0.0, 0.0, 0.5 * (sill + 0.2 + top)), (long + 0.015, 1.12, 0.5 * (top - sill)), c.glass, tile=1.5)
    pillars = int(rng.integers(5, 9))
    for x in np.linspace(-0.95, 0.95, pillars):
        c.box((x * long, 0.0, 0.5 * (sill + top)), (0.05, 1.265, 0.5 * (top - sill)), c.paint, 0.4 * tint)
    board = b.pick(rng, "poster")
    if rng.random() < 0.6:  # an advertisement below the windows
        x = float(rng.uniform(-0.5, 0.2)) * long
        c.box((x, 0.0, 0.8), (0.3 * long, 1.262, 0.32), board, tile="fit")
    c.box((long + 0.02, 0.0, top + 0.2), (0.02, 0.8, 0.14), board, (0.9, 0.7, 0.2), 2.0)
    c.box((0.0, 0.0, tall), (0.9 * long, 1.0, 0.08), c.metal, (0.8, 0.8, 0.8), 2.0)
    c.wheels((0.55 * long, -0.5 * long), 1.27, 0.48)
    c.lamps((long + 0.01, -long - 0.01), 0.9, 0.75)
    return 2.0 * long


def van(b: SceneBuilder, rng: Rng, p: Vector, r: Vector) -> float:
    """Add a delivery van that stands on ``p`` and faces along the first axis of ``r``.

    Returns:
        Its length, metres.
    """
    c = _Chassis(b, rng, p, r)
    long, tall, tint = float(rng.uniform(2.5, 3.1)), float(rng.uniform(2.1, 2.7)), _tint(rng)
    rear = 0.35 * long
    c.frustum((-rear, 0.0, 0.5 * (0.3 + tall)), (0.65 * long, 1.0, 0.5 * (tall - 0.3)), (0.98, 0.9), tint)
    low = 0.5 * (0.9 * tall - 0.3)
    c.frustum((0.55 * long, 0.0, 0.3 + low), (0.45 * long, 0.97, low), (0.42, 0.88), tint)
    b.frustum(c.at(0.5 * long, 0.0, 0.7 * tall), (0.37 * long, 0.95, 0.17 * tall), c.glass, (0.6, 0.93), r, 1.5)
    c.box((long, 0.0, 0.45), (0.04, 0.95, 0.14), c.metal, DARK, 1.5)
    c.box((-long, 0.0, 0.62 * tall), (0.02, 0.8, 0.16 * tall), c.glass, tile=1.5)
    if rng.random() < 0.5:
        c.box((-rear, 0.0, 0.5 * tall), (0.4 * long, 1.005, 0.16 * tall), b.pick(rng, "poster"), tile="fit")
    c.wheels((0.62 * long, -0.62 * long), 1.0, 0.34)
    c.lamps((long + 0.02, -long - 0.02), 0.75, 0.85)
    return 2.0 * long
