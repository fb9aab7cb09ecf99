"""When a frame becomes a keyframe."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.inference.window.local_map import LocalMap, Sight

Floats = NDArray[np.float64]

#: Median flow since the last keyframe, pixels, below which nothing new is to be seen.
_STILL_PX = 1.0


def is_due(local_map: LocalMap, template: Sight, sight: Sight, pose: Floats, age: int, width: int) -> bool:
    """Tell whether a keyframe is due.

    It is where the tracks show enough parallax (their points are then measured well, and soon leave), where too many
    tracks are gone, or where the last keyframe is old. A standing camera makes none.

    Args:
        local_map: the map.
        template: what the last keyframe sees.
        sight: what the newest frame sees of it.
        pose: (4, 4) of the newest frame.
        age: frames since the last keyframe.
        width: of the picture, pixels.
    """
    config = local_map.config
    if not len(sight):
        return True
    where = np.full(len(local_map.ids), -1)
    where[template.places] = np.arange(len(template))
    start = template.pixels[where[sight.places]]
    if float(np.median(np.linalg.norm(sight.pixels - start, axis=1))) < _STILL_PX:
        return False
    if len(sight) < config.keyframe_tracks * len(template) or age >= config.keyframe_age:
        return True
    rotation = pose[:3, :3] @ local_map.keyframes[-1].pose[:3, :3].T
    rays = np.concatenate([local_map.rays_of(start), np.ones((len(start), 1))], axis=1) @ rotation.T
    turned = rays[:, :2] / np.maximum(rays[:, 2:], 1e-6) * local_map.camera[:2] + local_map.camera[2:]
    parallax = float(np.median(np.linalg.norm(turned - sight.pixels, axis=1)))
    return parallax > config.keyframe_parallax * width
