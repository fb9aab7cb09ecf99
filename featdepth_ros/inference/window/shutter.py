"""Rolling shutter: rows are exposed one after another, so that a moving camera distorts the image.

Tracks are corrected to the time of the middle row, which is the time of a frame's stamp and pose. The camera's velocity
is constant during the exposure (Hedborg et al. 2012, "Rolling shutter bundle adjustment").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.inference.window.local_map import LocalMap
from featdepth_ros.inference.window.records import Sight

Floats = NDArray[np.float64]


def row_offsets(rays: Floats, depth: Floats, rows: Floats, velocity: Floats, readout_s: float) -> Floats:
    """Return the offset of each point from its position at the time of the middle row.

    Args:
        rays: (n, 2) approximate x/z, y/z of the points at the time of the middle row.
        depth: (n,) z-depths; far points count as infinitely far.
        rows: (n,) row of each point, from -0.5 for the first row to 0.5 for the last.
        velocity: (6,) twist (translation, rotation) of ``pose(t) = exp(velocity t) pose``, units/s and rad/s.
        readout_s: seconds from the first row to the last.

    Returns:
        (n, 2) offsets of rays.
    """
    x, y = rays[:, 0], rays[:, 1]
    vx, vy, vz = velocity[:3, None] / np.maximum(depth, 1e-6)
    wx, wy, wz = velocity[3:]
    # the point's velocity in the camera over its depth: v / z + w x (x, y, 1)
    ax, ay, az = vx + wy - wz * y, vy + wz * x - wx, vz + wx * y - wy * x
    flow = np.stack([ax - x * az, ay - y * az], axis=1)
    return np.asarray(flow * (readout_s * rows)[:, None])


def lateness(
    local_map: LocalMap, found: Floats, pixels: Floats, depth: Floats, velocity: Floats, rows: int, readout_s: float
) -> Floats:
    """Return the offsets of measured points from their positions at the time of the middle row, (n, 2) ideal pixels.

    Args:
        local_map: map with the camera.
        found: (n, 2) measured positions, ideal pixels.
        pixels: (n, 2) approximate positions at the time of the middle row, ideal pixels.
        depth: (n,) z-depths, map units.
        velocity: see `row_offsets`.
        rows: number of rows of the image.
        readout_s: see `row_offsets`.
    """
    place = local_map.to_image(found)[:, 1] / (rows - 1) - 0.5
    offsets = row_offsets(local_map.rays_of(pixels), depth, place, velocity, readout_s)
    return np.asarray(offsets * local_map.camera[:2])


def on_time(local_map: LocalMap, sight: Sight, pose: Floats, velocity: Floats, rows: int, readout_s: float) -> Sight:
    """Return the observations, corrected to the time of the middle row for a camera at a (4, 4) pose."""
    if not (readout_s > 0 and len(sight)):
        return sight
    found = sight.found
    pixels, z = local_map.project(pose, local_map.world(sight.places))
    late = lateness(local_map, found, pixels, z, velocity, rows, readout_s)
    return Sight(sight.places, found - late, late)
