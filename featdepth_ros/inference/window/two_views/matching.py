"""Pictures too far apart to be tracked: features matched over the whole picture say where to look."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.inference.window.local_map import LocalMap
from featdepth_ros.inference.window.tracks import Grey, Template
from featdepth_ros.inference.window.two_views.geometry import TwoView, two_view_motions

Floats = NDArray[np.float64]

#: Features a picture; distance of the best match over the second best; matches that make a motion; motions on trial.
FEATURES, RATIO, LEAST, GUESSES = 2000, 0.8, 20, 4
#: A feature's depth is that of so many points of the map next to it.
NEXT = 3
#: Parallax that lets a feature say how long the way was, pixels.
_PARALLAX_PX = 3.0


def matches(earlier: Grey, later: Grey, allowed: NDArray[np.bool_] | None = None) -> tuple[Floats, Floats]:
    """Match features of two pictures (ORB; Rublee et al. 2011); (n, 2) pixels in each, where they may lie."""
    mask = None if allowed is None else allowed.astype(np.uint8)
    detector = cv2.ORB_create(FEATURES, edgeThreshold=15, fastThreshold=7)
    (first, described), (second, other) = (detector.detectAndCompute(grey, mask) for grey in (earlier, later))
    if described is None or other is None or len(second) < 2:
        return np.zeros((0, 2)), np.zeros((0, 2))
    pairs = [pair for pair in cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(described, other, 2) if len(pair) == 2]
    good = [best for best, next_best in pairs if best.distance < RATIO * next_best.distance]
    at = [(first[match.queryIdx].pt, second[match.trainIdx].pt) for match in good]
    pixels = np.array(at, dtype=np.float64).reshape(-1, 2, 2)
    return pixels[:, 0], pixels[:, 1]


def matched_poses(local_map: LocalMap, template: Template, later: Grey) -> list[Floats]:
    """Guesses of the newest camera's pose (4, 4) T_camera_map, from features that it shares with the last keyframe.

    Few matches leave several motions possible; which one is right the points' own patches tell.
    """
    if not len(template.sight):
        return []
    first, second = (local_map.to_ideal(pixels) for pixels in matches(template.pyramid[0], later, template.allowed))
    rays = local_map.rays_of(first), local_map.rays_of(second)
    views = two_view_motions(*rays, float(local_map.camera[0]), LEAST)
    key = local_map.keyframes[-1].pose
    log_depth = np.log(np.maximum(local_map.depths(key, template.sight), 1e-6))
    return [_with_unit(view, first, template, log_depth) @ key for view in views[:GUESSES]]


def _with_unit(view: TwoView, first: Floats, template: Template, log_depth: Floats) -> Floats:
    """T_second_first (4, 4) in the map's unit, which the points next to each feature tell; a turn on the spot else."""
    motion = view.T_second_first.copy()
    telling = view.supporters & (view.parallax_px > _PARALLAX_PX)
    if telling.sum() < LEAST // 2:
        motion[:3, 3] = 0.0
        return motion
    away = np.linalg.norm(first[telling][:, None] - template.sight.pixels[None], axis=2)
    nearest = np.argsort(away, axis=1)[:, :NEXT]
    ratio = np.mean(log_depth[nearest], axis=1) - np.log(view.depth[telling])
    motion[:3, 3] *= math.exp(float(np.median(ratio)))
    return motion
