"""Common parts of outdoor scenes: ground along a road, daylight, sky, and checks for free positions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from featdepth_ros.simulation.render.scene import Ground, Light, Scene, SceneBuilder, Sky, undulation
from featdepth_ros.simulation.scenes.road import Road

CHUNK_M = 30.0
Rng = np.random.Generator
Vector = NDArray[np.float64]


class Site:
    """A road with its ground, and the builder that collects the objects along it.

    Attributes:
        b: the builder.
        road: the centreline.
        ground: the ground around it.
    """

    def __init__(self, builder: SceneBuilder, road: Road, ground: Ground) -> None:
        self.b, self.road, self.ground = builder, road, ground
        self._tree = cKDTree(road.at(np.arange(0.0, road.length_m, 1.0))[:, :2])
        self._houses: list[tuple[Vector, Vector, Vector]] = []

    def place(self, s: float, left: float) -> tuple[Vector, float]:
        """Return the ground point and the road's heading (rad) at road coordinates (m)."""
        x, y, heading = self.road.at(s, left)
        return np.array([x, y, undulation(self.ground.waves, x, y)[0]]), float(heading)

    def off_road(self, point: Vector, radius: float) -> bool:
        """Return whether a disc around a point stays off the road."""
        distance, _ = self._tree.query(point[:2])
        return bool(distance > radius + self.road.half_width_m + 0.2)

    def add_house(self, point: Vector, rotation: Vector, half: tuple[float, float]) -> None:
        """Store the footprint of a house (middle, rotation of its axes, half extents in m) for `off_houses`."""
        self._houses.append((point[:2], rotation[:2, :2], np.array(half)))

    def off_houses(self, point: Vector, radius: float) -> bool:
        """Return whether a disc around a point stays outside the houses added so far."""
        return not any(
            bool((np.abs((point[:2] - middle) @ axes) < half + radius).all()) for middle, axes, half in self._houses
        )

    def clear(self, point: Vector, radius: float) -> bool:
        """Return whether a disc around a point stays off the road and outside the houses added so far."""
        return self.off_road(point, radius) and self.off_houses(point, radius)

    def finish(self, rng: Rng, shadow_cell_m: float, far_m: float) -> Scene:
        """Choose random light and sky, and build the scene."""
        grid, frame = self.road.grid()
        return self.b.build(
            self.road, daylight(rng), day_sky(rng), self.ground, self.road.arcs, grid, frame, shadow_cell_m, far_m
        )


def daylight(rng: Rng) -> Light:
    """Return random sun and sky light, from noon to evening and clear to overcast, as seen with automatic exposure."""
    height, around = math.radians(rng.uniform(22.0, 65.0)), rng.uniform(0.0, 2.0 * math.pi)
    clear = float(rng.uniform(0.15, 1.0))
    warm = float(np.clip((math.radians(50.0) - height), 0.0, 0.6))
    sun = clear * np.array([0.85, 0.8 - 0.12 * warm, 0.72 - 0.35 * warm])
    above = (0.55 + 0.35 * (1.0 - clear)) * np.array([0.95, 1.0, 1.08])
    below = (0.36 + 0.22 * (1.0 - clear)) * np.array([1.05, 1.0, 0.92])
    # Automatic exposure gives ground and walls about the same total brightness in any weather.
    ground = sun * math.sin(height) + above
    wall = 0.45 * sun * math.cos(height) + 0.5 * (above + below)
    exposure = 1.02 * math.exp(rng.normal(0.0, 0.1)) / float(np.mean([ground, wall]))
    direction = (math.cos(height) * math.cos(around), math.cos(height) * math.sin(around), math.sin(height))
    return Light(direction, tuple(exposure * sun), tuple(exposure * above), tuple(exposure * below))


def day_sky(rng: Rng) -> Sky:
    """Return a random sky between blue and grey."""
    grey = float(rng.uniform(0.0, 1.0))
    zenith = (1 - grey) * np.array([0.28, 0.48, 0.85]) + grey * np.array([0.68, 0.71, 0.75])
    horizon = (1 - grey) * np.array([0.78, 0.86, 0.95]) + grey * np.array([0.88, 0.89, 0.9])
    return Sky(tuple(zenith), tuple(horizon), float(rng.uniform(0.3, 0.8)), float(rng.uniform(0.06, 0.2)))


def waves(rng: Rng, amplitude_m: float) -> Vector:
    """Return a random gentle undulation: (W, 4) amplitude (m), cycles per metre along x and y, phase (cycles)."""
    out = []
    for share, length in ((1.0, 170.0), (0.5, 83.0), (0.05, 11.0)):
        angle, cycles = rng.uniform(0, 2 * math.pi), 1.0 / (length * rng.uniform(0.8, 1.3))
        out.append([amplitude_m * share, cycles * math.cos(angle), cycles * math.sin(angle), rng.uniform()])
    return np.array(out)
