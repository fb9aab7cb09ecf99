"""Pose of one camera relative to points of the map (perspective-n-point)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.inference.window.local_map import LocalMap
from featdepth_ros.inference.window.records import Sight

Floats = NDArray[np.float64]

#: Largest reprojection errors, pixels: of an inlier of RANSAC, of an inlier of the expected pose, of a kept track.
SUPPORT_PX, FIRST_PX, KEEP_PX = 2.5, 4.0, 6.0
#: Largest number of RANSAC samples.
SAMPLES = 200


def camera_matrix(camera: Floats) -> Floats:
    """Return the 3x3 camera matrix of (4,) fx fy cx cy."""
    return np.array([[camera[0], 0, camera[2]], [0, camera[1], camera[3]], [0, 0, 1.0]])


def find_pose(local_map: LocalMap, sight: Sight, expected: Floats, least: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Find the pose with most inliers (perspective-three-point with RANSAC, Gao et al. 2003).

    Points whose depth is only a guess are triangulated with the pose, in place.

    Args:
        local_map: map with the points.
        sight: observations of the frame.
        expected: (4, 4) pose that is returned if there is no better one.
        least: least number of inliers.

    Returns:
        (4, 4) pose T_camera_map, and (n,) whether each track is an inlier.
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
        # RANSAC finds the right inliers, but OpenCV's pose from all of them may be far off, and its refinement may then
        # diverge. So the refinement begins at the pose with the smaller errors.
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
