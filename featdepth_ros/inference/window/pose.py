"""Pose of one camera against points of the map (perspective-n-point)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.window.local_map import LocalMap
from featdepth_ros.inference.window.records import Sight

Floats = NDArray[np.float64]

#: Reprojection errors, pixels: of a sample's supporter; of a point that fits the first guess; of a track to keep.
SUPPORT_PX, FIRST_PX, KEEP_PX = 2.5, 4.0, 6.0
#: Random samples at most.
SAMPLES = 200


def camera_matrix(camera: Floats) -> Floats:
    """3x3 of (4,) fx fy cx cy."""
    return np.array([[camera[0], 0, camera[2]], [0, camera[1], camera[3]], [0, 0, 1.0]])


def find_pose(local_map: LocalMap, sight: Sight, expected: Floats, least: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Find the pose that most tracks support (perspective-three-point in random samples, Gao et al. 2003).

    Args:
        local_map: the points.
        sight: where they were found.
        expected: (4, 4) pose to fall back on.
        least: supporters that make an answer.

    Returns:
        (4, 4) pose T_camera_map, and (n,) which tracks fit it. Depths that are mere guesses are measured with it.
    """
    pose, seen = expected, sight
    if len(seen) < least:
        return pose, np.zeros(len(seen), dtype=bool)
    guessed = local_map.is_guess(seen.places)
    if len(seen) - guessed.sum() >= least:
        sight = seen.chosen(~guessed)
    points, K = local_map.world(sight.places), camera_matrix(local_map.camera)
    fits = local_map.errors(pose, sight) < FIRST_PX
    cv2.setRNGSeed(0)
    solved, rotation, translation, inliers = cv2.solvePnPRansac(
        points, sight.pixels, K, None, None, None, False, SAMPLES, SUPPORT_PX, 0.999, flags=cv2.SOLVEPNP_P3P
    )
    if solved and inliers is not None and len(inliers) >= max(least, 0.9 * fits.sum()):
        chosen = inliers.ravel()
        # The samples are right about the inliers, but OpenCV's answer from them all may be far off, and refining it
        # then ends anywhere. So it begins at whichever pose fits them better.
        sampled, inside = se3.make(cv2.Rodrigues(rotation)[0], translation.ravel()), sight.chosen(chosen)
        apart = [float(np.median(local_map.errors(start, inside))) for start in (sampled, expected)]
        if apart[1] < apart[0]:
            rotation, translation = cv2.Rodrigues(expected[:3, :3])[0], expected[:3, 3:].copy()
        rotation, translation = cv2.solvePnPRefineLM(
            points[chosen], sight.pixels[chosen], K, None, rotation, translation
        )
        if np.isfinite(rotation).all() and np.isfinite(translation).all():
            pose = se3.make(cv2.Rodrigues(rotation)[0], translation.ravel())
    local_map.triangulate(pose, seen)
    return pose, local_map.errors(pose, seen) < KEEP_PX
