"""When a frame becomes a keyframe, and what its network's depth is worth then."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.inference.window import tracks
from featdepth_ros.inference.window.frame import Frame
from featdepth_ros.inference.window.local_map import LocalMap
from featdepth_ros.inference.window.prior import network_scale
from featdepth_ros.inference.window.records import NetworkScale, Sight

Floats = NDArray[np.float64]

#: Known points next to a new one that say how far it may be.
NEIGHBOURS = 3


def is_due(local_map: LocalMap, template: Sight, sight: Sight, pose: Floats, age: int, width: int) -> bool:
    """Tell whether a keyframe is due.

    One is due where the tracks show enough parallax: their points are then measured well, and soon leave. It is also
    due where too many tracks are gone, or where the last keyframe is old. A standing camera makes none.

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
    start = template.of(sight.places).pixels
    if float(np.median(np.linalg.norm(sight.pixels - start, axis=1))) < tracks.STILL_PX:
        return False
    if len(sight) < config.keyframe_tracks * len(template) or age >= config.keyframe_age:
        return True
    rotation = pose[:3, :3] @ local_map.keyframes[-1].pose[:3, :3].T
    rays = np.concatenate([local_map.rays_of(start), np.ones((len(start), 1))], axis=1) @ rotation.T
    turned = rays[:, :2] / np.maximum(rays[:, 2:], 1e-6) * local_map.camera[:2] + local_map.camera[2:]
    parallax = float(np.median(np.linalg.norm(turned - sight.pixels, axis=1)))
    return parallax > config.keyframe_parallax * width


def known_depths(local_map: LocalMap, frame: Frame, sight: Sight, pose: Floats) -> tuple[Floats, Floats] | None:
    """Inverse depths of the points that the map knows well: as the network tells them, and as measured; (n,) each.

    Args:
        local_map: the map.
        frame: the frame that becomes a keyframe.
        sight: what it sees of the map.
        pose: (4, 4) of it.

    Returns:
        They; None where they are fewer than make a motion.
    """
    config = local_map.config
    known = sight.chosen(local_map.information[sight.places] > config.known_information)
    network = frame.inverse_depth_at(local_map.to_image(known.found), config.min_depth, config.max_depth)
    if network is None or network[1].sum() < config.least_tracks:
        return None
    measured = 1.0 / np.maximum(local_map.depths(pose, known), 1e-6)
    return network[0][network[1]], measured[network[1]]


def network_scale_of(local_map: LocalMap, known: tuple[Floats, Floats] | None) -> NetworkScale:
    """What a frame's network depth is worth, by `known_depths`; without those, as in the last keyframes."""
    config, last = local_map.config, local_map.keyframes[-5:]
    usual = float(np.mean([k.log_scale for k in last])), float(np.mean([k.shift for k in last]))
    if known is None:
        return usual
    return network_scale(*known, config.prior == "scale_and_shift") or usual


def guessed(
    local_map: LocalMap, pose: Floats, sight: Sight, new: Floats, log_scale: float, usual_depth: float
) -> Floats:
    """Inverse depths of new points (n, 2) of which no network tells: those of the points next to them.

    Args:
        local_map: the map.
        pose: (4, 4) of the keyframe.
        sight: what it sees of the map.
        new: (n, 2) pixels of the picture.
        log_scale: of the keyframe.
        usual_depth: map units, taken where nothing is seen.
    """
    z, seen = local_map.depths(pose, sight), local_map.to_image(sight.found)
    seen, z = seen[z > 1e-6], z[z > 1e-6]
    if not len(z):
        return np.full(len(new), math.exp(log_scale) / usual_depth)
    nearest = np.argsort(np.linalg.norm(new[:, None] - seen[None], axis=2), axis=1)[:, :NEIGHBOURS]
    return np.asarray(math.exp(log_scale) / np.median(z[nearest], axis=1))
