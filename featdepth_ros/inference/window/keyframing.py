"""Selection of keyframes, and the scale of the network's depth in them."""

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

#: Number of known neighbours for the initial depth of a new point.
NEIGHBOURS = 3


def is_due(local_map: LocalMap, template: Sight, sight: Sight, pose: Floats, age: int, width: int) -> bool:
    """Return whether a new keyframe is due.

    It is due if the tracks show enough parallax, since their points are then well measured and soon leave the image. It
    is also due if too many tracks are lost, or if the last keyframe is old. A standing camera creates no keyframes.

    Args:
        local_map: the map.
        template: observations of the last keyframe.
        sight: observations of the same points in the newest frame.
        pose: (4, 4) pose of the newest frame.
        age: number of frames since the last keyframe.
        width: width of the image, pixels.
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
    """Return the inverse depths of well-known points: by the network, and as measured in the map.

    Args:
        local_map: the map.
        frame: the frame that becomes a keyframe.
        sight: its observations of the map's points.
        pose: (4, 4) pose of the frame.

    Returns:
        Both inverse depths, (n,) each; None with fewer than `WindowConfig.least_tracks` of them.
    """
    config = local_map.config
    known = sight.chosen(local_map.information[sight.places] > config.known_information)
    network = frame.inverse_depth_at(local_map.to_image(known.found), config.min_depth, config.max_depth)
    if network is None or network[1].sum() < config.least_tracks:
        return None
    measured = 1.0 / np.maximum(local_map.depths(pose, known), 1e-6)
    return network[0][network[1]], measured[network[1]]


def network_scale_of(local_map: LocalMap, known: tuple[Floats, Floats] | None) -> NetworkScale:
    """Return log scale and shift of a frame's network depth by `known_depths`, or the mean of the last keyframes."""
    config, last = local_map.config, local_map.keyframes[-5:]
    usual = float(np.mean([k.log_scale for k in last])), float(np.mean([k.shift for k in last]))
    if known is None:
        return usual
    return network_scale(*known, config.prior == "scale_and_shift") or usual


def guessed(
    local_map: LocalMap, pose: Floats, sight: Sight, new: Floats, log_scale: float, usual_depth: float
) -> Floats:
    """Return initial inverse depths (n,) of new points without a network's depth: those of their neighbours.

    Args:
        local_map: the map.
        pose: (4, 4) pose of the keyframe.
        sight: its observations of the map's points.
        new: (n, 2) pixels of the new points in the image.
        log_scale: log scale of the keyframe.
        usual_depth: depth without any neighbours, map units.
    """
    z, seen = local_map.depths(pose, sight), local_map.to_image(sight.found)
    seen, z = seen[z > 1e-6], z[z > 1e-6]
    if not len(z):
        return np.full(len(new), math.exp(log_scale) / usual_depth)
    nearest = np.argsort(np.linalg.norm(new[:, None] - seen[None], axis=2), axis=1)[:, :NEIGHBOURS]
    return np.asarray(math.exp(log_scale) / np.median(z[nearest], axis=1))
