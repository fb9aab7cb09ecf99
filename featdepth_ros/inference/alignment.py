"""Motion from the images themselves: the pose network's answer sharpened by tracked points and known depth.

A pose network alone drifts by several percent of the way, and its translation need not fit the depth network's unit.
Points of the earlier frame are tracked into the later one (Lucas and Kanade 1981, pyramids of Bouguet; forwards and
backwards) and lifted by the earlier depth map. The motion that projects them where tracking ended is solved by random
sampling and least squares (perspective-n-point, Fischler and Bolles 1981). Where too few points agree, the
network's answer stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3
from featdepth_ros.geometry.cameras import CameraModel

#: Points to track, and their least distance in pixels of the network's image.
POINTS, SPACING_PX = 400, 7
#: A point that does not come back to within this when tracked backwards is lost, pixels.
RETURN_PX = 0.7
#: Reprojection error of a point that agrees, pixels. Depth errors of tens of percent move a point by more.
AGREE_PX = 1.5
#: Agreeing points, and their share of the tracked ones, that make an answer.
ENOUGH, ENOUGH_SHARE = 40, 0.35

_TERMINATION = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.02)


@dataclass(frozen=True)
class View:
    """What the alignment needs of one frame.

    Attributes:
        grey: (h, w) uint8 at network size.
        depth: (h, w) float32 z-depth at network size, in the unit the motion shall have.
        trusted: (h, w) bool, see `inference.validity`.
    """

    grey: NDArray[np.uint8]
    depth: NDArray[np.float32]
    trusted: NDArray[np.bool_]


@dataclass(frozen=True)
class Alignment:
    """A motion that the images support.

    Attributes:
        T_later_earlier: (4, 4).
        covariance: (6, 6) of (rotation vector, translation) of that motion, rad^2 and unit^2, from the residuals.
        inliers: points that agree.
    """

    T_later_earlier: NDArray[np.float64]
    covariance: NDArray[np.float64]
    inliers: int


def align(earlier: View, later: View, camera: CameraModel, guess: NDArray[np.float64]) -> Alignment | None:
    """Measure the motion between two frames.

    Args:
        earlier: its depth carries the scale.
        later: its image alone is used.
        camera: pinhole camera of both.
        guess: (4, 4) T_later_earlier to start from.

    Returns:
        The motion, or None when too few points agree on one.
    """
    corners = cv2.goodFeaturesToTrack(
        earlier.grey, POINTS, 0.005, SPACING_PX, mask=earlier.trusted.astype(np.uint8), blockSize=5
    )
    if corners is None or len(corners) < ENOUGH:
        return None
    start = corners.reshape(-1, 2)
    K = camera.K
    points = _lift(start, earlier.depth, K)
    rotation_guess, _ = cv2.Rodrigues(guess[:3, :3])
    expected, _ = cv2.projectPoints(points, rotation_guess, guess[:3, 3], K, None)
    end, kept = _track(earlier.grey, later.grey, start, expected.reshape(-1, 2).astype(np.float32))
    if kept.sum() < ENOUGH:
        return None
    points, end = points[kept], end[kept].astype(np.float64)
    cv2.setRNGSeed(0)
    solved, rotation, translation, inliers = cv2.solvePnPRansac(
        points, end, K, None, None, None, False, 60, AGREE_PX, 0.99, flags=cv2.SOLVEPNP_P3P
    )
    if not solved or inliers is None or len(inliers) < max(ENOUGH, ENOUGH_SHARE * len(points)):
        return None
    chosen = inliers.ravel()
    rotation, translation = cv2.solvePnPRefineLM(points[chosen], end[chosen], K, None, rotation, translation)
    reprojected, jacobian = cv2.projectPoints(points[chosen], rotation, translation, K, None)
    residual = reprojected.reshape(-1, 2) - end[chosen]
    motion = se3.make(cv2.Rodrigues(rotation)[0], translation.ravel())
    if not np.isfinite(motion).all():
        return None
    variance = float((residual**2).sum()) / max(2 * len(chosen) - 6, 1)
    normal = jacobian[:, :6].T @ jacobian[:, :6]
    return Alignment(motion, np.linalg.pinv(normal) * variance, len(chosen))


def _lift(pixels: NDArray[np.float32], depth: NDArray[np.float32], K: NDArray[np.float64]) -> NDArray[np.float64]:
    columns = np.clip(np.rint(pixels[:, 0]).astype(int), 0, depth.shape[1] - 1)
    rows = np.clip(np.rint(pixels[:, 1]).astype(int), 0, depth.shape[0] - 1)
    z = depth[rows, columns].astype(np.float64)
    return np.stack([(pixels[:, 0] - K[0, 2]) / K[0, 0] * z, (pixels[:, 1] - K[1, 2]) / K[1, 1] * z, z], axis=1)


def _track(
    earlier: NDArray[np.uint8], later: NDArray[np.uint8], start: NDArray[np.float32], expected: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Follow points, beginning the search where the guess expects them; returns positions and which to believe."""
    settings: dict[str, Any] = {"winSize": (15, 15), "maxLevel": 3, "criteria": _TERMINATION}
    height, width = earlier.shape
    inside = (expected >= 0).all(axis=1) & (expected[:, 0] < width) & (expected[:, 1] < height)
    search = np.where(inside[:, None], expected, start)
    end, forth, _ = cv2.calcOpticalFlowPyrLK(
        earlier, later, start, search.copy(), flags=cv2.OPTFLOW_USE_INITIAL_FLOW, **settings
    )
    back, home, _ = cv2.calcOpticalFlowPyrLK(
        later, earlier, end, start.copy(), flags=cv2.OPTFLOW_USE_INITIAL_FLOW, **settings
    )
    returned = np.linalg.norm(back - start, axis=1) < RETURN_PX
    in_image = (end >= 0).all(axis=1) & (end[:, 0] <= width - 1) & (end[:, 1] <= height - 1)
    return end, (forth.ravel() == 1) & (home.ravel() == 1) & returned & in_image
