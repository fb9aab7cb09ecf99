"""A rolling shutter: rows are exposed one after the other, so that a moving camera bends the picture.

A track is brought to where the camera would have seen its point at the moment of the middle row. That moment is what a
frame's stamp and pose mean. The camera's motion over the exposure is taken as steady (Hedborg et al. 2012, "Rolling
shutter bundle adjustment").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.inference.window.local_map import LocalMap
from featdepth_ros.inference.window.records import Sight

Floats = NDArray[np.float64]


def row_offsets(rays: Floats, depth: Floats, rows: Floats, velocity: Floats, readout_s: float) -> Floats:
    """How far each point is seen from where the middle row's camera would see it.

    Args:
        rays: (n, 2) x/z, y/z of the points as the middle row's camera sees them, or nearly so.
        depth: (n,) z-depths; far ones are as good as infinitely far.
        rows: (n,) place of each in the picture: -0.5 for the first row, 0.5 for the last.
        velocity: (6,) twist (translation, rotation) of ``pose(t) = exp(velocity t) pose``, units and radians a second.
        readout_s: seconds from the first row to the last.

    Returns:
        (n, 2) offsets of rays.
    """
    x, y = rays[:, 0], rays[:, 1]
    vx, vy, vz = velocity[:3, None] / np.maximum(depth, 1e-6)
    wx, wy, wz = velocity[3:]
    # the point's own motion in the camera over its depth: v / z + w x (x, y, 1)
    ax, ay, az = vx + wy - wz * y, vy + wz * x - wx, vz + wx * y - wy * x
    flow = np.stack([ax - x * az, ay - y * az], axis=1)
    return np.asarray(flow * (readout_s * rows)[:, None])


def lateness(
    local_map: LocalMap, found: Floats, pixels: Floats, depth: Floats, velocity: Floats, rows: int, readout_s: float
) -> Floats:
    """How far points are found from where the middle row's camera would see them, (n, 2) ideal pixels.

    Args:
        local_map: for its camera.
        found: (n, 2) ideal pixels where they were found.
        pixels: (n, 2) where the middle row's camera would see them, or nearly so.
        depth: (n,) z-depths, map units.
        velocity: see `row_offsets`.
        rows: of the picture.
        readout_s: see `row_offsets`.
    """
    place = local_map.to_image(found)[:, 1] / (rows - 1) - 0.5
    offsets = row_offsets(local_map.rays_of(pixels), depth, place, velocity, readout_s)
    return np.asarray(offsets * local_map.camera[:2])


def on_time(local_map: LocalMap, sight: Sight, pose: Floats, velocity: Floats, rows: int, readout_s: float) -> Sight:
    """A sight as it would be if all rows had been exposed with the middle one, by a camera at a (4, 4) pose."""
    if not (readout_s > 0 and len(sight)):
        return sight
    found = sight.found
    pixels, z = local_map.project(pose, local_map.world(sight.places))
    late = lateness(local_map, found, pixels, z, velocity, rows, readout_s)
    return Sight(sight.places, found - late, late)
