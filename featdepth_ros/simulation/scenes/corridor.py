"""A long, narrow corridor with doors, pictures, lamps, pipes, and furniture along its walls."""

from __future__ import annotations

import math

import numpy as np

from featdepth_ros.simulation.render.scene import Light, Scene, SceneBuilder
from featdepth_ros.simulation.scenes.furniture import cupboard, door, pictures, plant, radiator, window
from featdepth_ros.simulation.scenes.room import FreeSpace, finish_indoors, shell, wall_frame


def make_corridor(seed: int) -> Scene:
    """Build a corridor. Its middle is free, and the camera looks along it."""
    rng = np.random.default_rng([seed, 12])
    b = SceneBuilder("corridor", seed)
    size = np.array([rng.uniform(14.0, 30.0), rng.uniform(2.3, 3.4), rng.uniform(2.3, 3.0)])
    shell(b, rng, size)
    for wall in (1, 3):
        foot, r, length = wall_frame(size, wall)
        at = -length / 2 + 0.4
        while at < length / 2 - 1.2:
            piece = (door, door, pictures, radiator, plant, cupboard, window)[int(rng.integers(7))]
            at += piece(b, rng, foot + r @ np.array([at, 0.0, 0.0]), r, 0.9 if piece is cupboard else 1.3, size[2])
            at += rng.uniform(0.1, 1.2)
        for _ in range(int(rng.integers(0, 4))):  # pipes and cables under the ceiling
            y, z, radius = rng.uniform(0.06, 0.3), size[2] - rng.uniform(0.06, 0.35), rng.uniform(0.01, 0.07)
            ends = [foot + r @ np.array([x, y, z]) for x in (-length / 2, length / 2)]
            coat, tint = b.pick(rng, "metal", "paint"), rng.uniform(0.3, 1.0, 3)
            b.cone(ends[0], ends[1], radius, coat, None, 0.8, tint, casts=False)
    for x in np.arange(-size[0] / 2 + 1.0, size[0] / 2, rng.uniform(2.0, 4.0)):
        b.box((x, 0, size[2] - 0.03), (0.5, 0.12, 0.03), b.pick(rng, "paint"), glow=0.9, casts=False)
    for wall in (0, 2):
        foot, r, length = wall_frame(size, wall)
        door(b, rng, foot + r @ np.array([-0.5, 0.0, 0.0]), r, length, size[2])
    light = Light((0.1, float(rng.uniform(-0.3, 0.3)), 1.0), (0.45, 0.44, 0.41), (0.8, 0.8, 0.8), (0.72, 0.7, 0.67))
    half, back, ahead = size[1] / 2 - 0.75, size[0] / 2 - 1.6, size[0] / 2 - 6.0  # there is always free space ahead
    if rng.random() < 0.5:
        free = FreeSpace((-back, -half, 0.7), (ahead, half, 1.6), facing_rad=0.0)
    else:
        free = FreeSpace((-ahead, -half, 0.7), (back, half, 1.6), facing_rad=math.pi)
    return finish_indoors(b, free, light, shadow_cell_m=0.04)
