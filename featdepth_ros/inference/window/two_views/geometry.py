"""Motion between two views of the same points, up to the unit of length: essential matrix and homography.

An essential matrix (five points, Nister 2004) describes a scene with depth. A homography describes a plane or a
rotation on the spot (Faugeras and Lustman 1988). No score selects one of the models: all motions of both are evaluated.
The one with the smallest errors is used, if no other motion is nearly as good.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry import se3_numpy as se3

Floats = NDArray[np.float64]

#: - `SUPPORT_PX`: largest error of an inlier in the second view, pixels.
#: - `SAMPLE_PX`: the same during RANSAC.
#: - `SAMPLES`: largest number of RANSAC samples.
#: - `RIVAL`: least ratio of a different motion's root mean square error to that of the best one.
#: - `_OTHER_RAD`, `_OTHER_DIRECTION_RAD`: least difference of two different motions in rotation and direction, radians.
SUPPORT_PX, SAMPLE_PX, SAMPLES, RIVAL = 1.5, 0.7, 500, 1.4
#: Gauss-Newton steps of the refinement, and the error above which a point has a lower weight, pixels.
REFINE_STEPS, REFINE_HUBER_PX = 6, 0.5
_OTHER_RAD, _OTHER_DIRECTION_RAD = 0.02, 0.15
#: Ratio of depth to baseline above which a point counts as infinitely far.
_FARTHEST = 500.0


@dataclass(frozen=True)
class TwoView:
    """Two views of one scene.

    Attributes:
        T_second_first: (4, 4) motion with a baseline of length 1.
        depth: (n,) z-depth in the first view, in units of the baseline; NaN for outliers.
        parallax_px: (n,) displacement of each point without the part due to the rotation, pixels.
        error_px: (n,) error in the second view, limited to the largest error of an inlier, pixels.
    """

    T_second_first: Floats
    depth: Floats
    parallax_px: Floats
    error_px: Floats

    @property
    def supporters(self) -> NDArray[np.bool_]:
        """(n,) whether each point is an inlier of the motion."""
        return np.isfinite(self.depth)


def two_view_motion(first: Floats, second: Floats, focal_px: float, least: int) -> TwoView | None:
    """Find the motion between two views.

    Args:
        first: (n, 2) rays x/z, y/z of points in the first view.
        second: the same points in the second one.
        focal_px: focal length, pixels.
        least: least number of inliers.

    Returns:
        The motion; None with too few inliers, or if two different motions are similarly good.
    """
    trials = two_view_motions(first, second, focal_px, least)
    if not trials:
        return None
    best = trials[0]
    for rival in trials[1:]:
        explained_by_one = best.supporters | rival.supporters
        errors = [_error_px(trial, explained_by_one) for trial in (best, rival)]
        if errors[1] < RIVAL * errors[0] and _differ(rival.T_second_first, best.T_second_first):
            return None
    return best


def two_view_motions(first: Floats, second: Floats, focal_px: float, least: int) -> list[TwoView]:
    """Return all motions between two views with enough inliers, the one with the smallest errors first.

    Arguments as `two_view_motion`.
    """
    if len(first) < max(least, 8):
        return []
    trials = [explained(motion, first, second, focal_px) for motion in _candidates(first, second, focal_px)]
    trials = [trial for trial in trials if trial.supporters.sum() >= least]
    refined = [_refined(trial, first, second, focal_px) for trial in trials]
    trials = [explained(motion, first, second, focal_px) for motion in refined]
    everything = np.ones(len(first), dtype=bool)
    return sorted(trials, key=lambda trial: _error_px(trial, everything))


def _error_px(trial: TwoView, chosen: NDArray[np.bool_]) -> float:
    """Return the root mean square error of chosen points, pixels; larger errors count as the largest of an inlier."""
    return math.sqrt(float(np.mean(trial.error_px[chosen] ** 2)))


def _candidates(first: Floats, second: Floats, focal_px: float) -> list[Floats]:
    """Return the (4, 4) motions T_second_first of an essential matrix and of a homography."""
    threshold, motions = SAMPLE_PX / focal_px, []
    cv2.setRNGSeed(0)
    essential, _ = cv2.findEssentialMat(first, second, np.eye(3), cv2.RANSAC, 0.999, threshold, SAMPLES)
    if essential is not None and essential.shape == (3, 3):
        a, b, direction = cv2.decomposeEssentialMat(essential)
        motions += [(rotation, sign * direction) for rotation in (a, b) for sign in (1.0, -1.0)]
    homography, _ = cv2.findHomography(first, second, cv2.RANSAC, 2 * threshold, None, SAMPLES, 0.999)
    if homography is not None:
        _, rotations, directions, _ = cv2.decomposeHomographyMat(homography, np.eye(3))
        motions += [(r, t) for r, t in zip(rotations, directions, strict=True) if np.linalg.norm(t) > 1e-6]
    return [se3.make(r, np.asarray(t).ravel() / np.linalg.norm(t)) for r, t in motions if np.isfinite(r).all()]


def explained(motion: Floats, first: Floats, second: Floats, focal_px: float) -> TwoView:
    """Return depths and errors of points in two views under a motion (4, 4) with baseline 1; see `two_view_motion`."""
    ones = np.ones((len(first), 1))
    turned = np.concatenate([first, ones], axis=1) @ motion[:3, :3].T
    inverse_depth = triangulated(turned, second, motion[:3, 3])
    seen = turned + inverse_depth[:, None] * motion[:3, 3]
    z = np.maximum(seen[:, 2], 1e-6)
    error = np.linalg.norm(seen[:, :2] / z[:, None] - second, axis=1) * focal_px
    good = (error < SUPPORT_PX) & (seen[:, 2] > 1e-3) & (inverse_depth > -SUPPORT_PX / focal_px)
    depth = np.where(good, 1.0 / np.maximum(inverse_depth, 1.0 / _FARTHEST), np.nan)
    away = turned[:, :2] / np.maximum(turned[:, 2:], 1e-6)
    parallax_px = np.linalg.norm(away - second, axis=1) * focal_px
    return TwoView(motion, depth, parallax_px, np.where(good, error, SUPPORT_PX))


def _refined(trial: TwoView, first: Floats, second: Floats, focal_px: float) -> Floats:
    """Return the motion with the smallest distances of its inliers from the epipolar lines (Gauss-Newton, Huber)."""
    chosen = trial.supporters
    rays = np.concatenate([first[chosen], np.ones((int(chosen.sum()), 1))], axis=1)
    seen, motion, small = second[chosen], trial.T_second_first, 1e-5

    def distances(moved: Floats) -> Floats:
        turned = rays @ moved[:3, :3].T
        along = moved[:2, 3] - seen * moved[2, 3]
        off = seen - turned[:, :2] / np.maximum(turned[:, 2:], 1e-6)
        length = np.maximum(np.linalg.norm(along, axis=1), 1e-9)
        return np.asarray((along[:, 0] * off[:, 1] - along[:, 1] * off[:, 0]) / length * focal_px)

    for _ in range(REFINE_STEPS):
        now = distances(motion)
        sides = np.linalg.svd(motion[:3, 3][None])[2][1:]  # two directions orthogonal to the translation
        steps = [*np.eye(3), *sides]
        slopes = np.stack(
            [(distances(_nudged(motion, k, s * small)) - now) / small for k, s in enumerate(steps)], axis=1
        )
        weighted = slopes * np.minimum(1.0, REFINE_HUBER_PX / np.maximum(np.abs(now), 1e-9))[:, None]
        step = np.linalg.solve(weighted.T @ slopes + 1e-6 * np.eye(5), -weighted.T @ now)
        for k, direction in enumerate(steps):
            motion = _nudged(motion, k, direction * step[k])
    return motion


def _nudged(motion: Floats, axis: int, by: Floats) -> Floats:
    """Rotate by a small vector (first three axes), or add it to the translation; the baseline stays 1 long."""
    nudged = motion.copy()
    if axis < 3:
        nudged[:3, :3] = se3.rotation_from_vector(by) @ motion[:3, :3]
    else:
        nudged[:3, 3] += by
        nudged[:3, 3] /= np.linalg.norm(nudged[:3, 3])
    return nudged


def triangulated(turned: Floats, second: Floats, way: Floats) -> Floats:
    """Triangulate points in two views.

    Args:
        turned: (n, 3) rays of the first view, with z = 1 there, in the axes of the second.
        second: (n, 2) rays in the second view.
        way: (3,) translation of T_second_first, or one for each point, (n, 3).

    Returns:
        (n,) inverse depths in the first view that minimise the error in the second one, to first order. They are at
        most 0 behind the camera.
    """
    # (turned + rho way) x (second, 1) = 0, with equal weights of its first two rows
    a = way[..., :2] - second * way[..., 2:]
    b = second * turned[:, 2:] - turned[:, :2]
    return np.asarray((a * b).sum(axis=1) / np.maximum((a * a).sum(axis=1), 1e-12))


def _differ(one: Floats, other: Floats) -> bool:
    turn = float(np.linalg.norm(se3.vector_from_rotation(one[:3, :3] @ other[:3, :3].T)))
    angle = math.acos(float(np.clip(one[:3, 3] @ other[:3, 3], -1.0, 1.0)))
    return turn > _OTHER_RAD or angle > _OTHER_DIRECTION_RAD
