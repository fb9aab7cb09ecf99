"""Feature matching over the whole image, for motions that are too large for tracking."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.window.local_map import LocalMap
from featdepth_ros.inference.window.tracks import Grey, Template
from featdepth_ros.inference.window.two_views.geometry import TwoView, two_view_motions

Floats = NDArray[np.float64]

#: Features per image; largest distance ratio of best to second-best match; least matches; largest number of motions.
FEATURES, RATIO, LEAST, GUESSES = 2000, 0.8, 20, 4
#: Number of neighbouring points of the map whose mean is a feature's depth.
NEXT = 3
#: Least parallax of a feature that measures the length of the baseline, pixels.
_PARALLAX_PX = 3.0


def matches(earlier: Grey, later: Grey, allowed: NDArray[np.bool_] | None = None) -> tuple[Floats, Floats]:
    """Match features of two images (ORB; Rublee et al. 2011).

    Args:
        earlier: (H, W) uint8 image.
        later: (H, W) uint8 image.
        allowed: (H, W) mask of accepted positions; None: everywhere.

    Returns:
        (n, 2) pixels of the matches in each image.
    """
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
    """Return hypotheses of the newest camera's pose (4, 4) T_camera_map, from features matched with the last keyframe.

    With few matches, several motions are possible. The caller selects one by tracking the points.
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
    """Return T_second_first (4, 4) in the map's unit, by the depth of points next to the features.

    The translation is zero if there are too few features with parallax.
    """
    telling = view.supporters & (view.parallax_px > _PARALLAX_PX)
    if telling.sum() < LEAST // 2:
        return se3.stretched(view.T_second_first, 0.0)
    away = np.linalg.norm(first[telling][:, None] - template.sight.pixels[None], axis=2)
    nearest = np.argsort(away, axis=1)[:, :NEXT]
    ratio = np.mean(log_depth[nearest], axis=1) - np.log(view.depth[telling])
    return se3.stretched(view.T_second_first, math.exp(float(np.median(ratio))))
