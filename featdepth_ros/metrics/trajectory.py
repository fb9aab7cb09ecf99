"""Trajectories: validation, association and alignment. numpy only.

A pose is ``T_world_body``, (4, 4), which maps the body's coordinates to the world's. The body is the frame of the file:
a camera, an IMU or a base link.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featdepth_ros.errors import EvaluationError
from featdepth_ros.metrics.uncertainty import check_covariances

Alignment = Literal["none", "scale", "6dof", "7dof", "umeyama_scale"]
ALIGNMENTS: tuple[Alignment, ...] = ("none", "scale", "6dof", "7dof", "umeyama_scale")

#: Largest entry of R^T R - I of a rotation; it allows for single precision, few printed digits and chained motions.
RIGID_TOLERANCE = 1e-3

#: Mean cosine of directions of motion below which they disagree, and above which they agree. An estimate's errors per
#: frame are some degrees, but different axes are a quarter turn.
_TURNED_COSINE, _AGREEING_COSINE = 0.5, 0.95


@dataclass(frozen=True)
class Trajectory:
    """Poses in the order of their keys.

    Attributes:
        keys: (N,) int64, strictly increasing: stamps in nanoseconds, or frame numbers.
        poses: (N, 4, 4) float64 T_world_body.
        stamped: whether keys are stamps.
        name: name in messages, tables and legends.
        duplicates: number of poses that were dropped because an earlier one had the same key.
        covariances: (N, 6, 6) float64 covariance of the motion from the previous pose to each pose, in the axes of the
            previous one: x y z, then rotation, m^2 and rad^2; NaN if unknown. None if the source has none.
    """

    keys: NDArray[np.int64]
    poses: NDArray[np.float64]
    stamped: bool
    name: str = "trajectory"
    duplicates: int = 0
    covariances: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def moved_to(self, T_body_other: ArrayLike) -> Trajectory:
        """Return the trajectory of another frame on the same body (``T_body_other``, (4, 4)), without covariances."""
        return replace(self, poses=self.poses @ np.asarray(T_body_other, dtype=np.float64), covariances=None)

    @property
    def positions(self) -> NDArray[np.float64]:
        """(N, 3) positions."""
        return self.poses[:, :3, 3]


def check_poses(poses: ArrayLike, name: str = "trajectory") -> NDArray[np.float64]:
    """Return (N, 4, 4) float64 poses after a check.

    Args:
        poses: (N, 4, 4) or (N, 3, 4).
        name: name of the trajectory in messages.

    Raises:
        EvaluationError: the shape is wrong, a pose has NaN or infinity, or its rotation part is not a rotation. The
            message counts poses from 0.
    """
    values = np.asarray(poses, dtype=np.float64)
    if values.ndim != 3 or values.shape[1:] not in ((4, 4), (3, 4)):
        raise EvaluationError(f"{name}: poses have shape {values.shape}; expected (N, 3, 4) or (N, 4, 4)")
    whole = np.tile(np.eye(4), (len(values), 1, 1))
    whole[:, :3] = values[:, :3]
    bad: NDArray[np.bool_] = np.logical_not(np.isfinite(whole).all(axis=(1, 2)))
    if bad.any():
        raise EvaluationError(
            f"{name}: {int(bad.sum())} of {len(bad)} poses hold NaN or infinity, first pose {int(np.argmax(bad))}; "
            "remove these lines (frames without an estimate are not compared)"
        )
    rotations = whole[:, :3, :3]
    deviation = np.abs(np.swapaxes(rotations, 1, 2) @ rotations - np.eye(3)).max(axis=(1, 2), initial=0.0)
    bad = (deviation > RIGID_TOLERANCE) | (np.linalg.det(rotations) < 0)
    if bad.any():
        first = int(np.argmax(bad))
        raise EvaluationError(
            f"{name}: {int(bad.sum())} of {len(bad)} poses are not rigid, first pose {first} "
            f"(R^T R differs from I by {deviation[first]:.2g}, det R = {np.linalg.det(rotations[first]):.3g}); "
            "expected rotation matrices, row-major [R|t], without scale or mirroring"
        )
    return whole


def make_trajectory(
    keys: ArrayLike,
    poses: ArrayLike,
    stamped: bool,
    name: str = "trajectory",
    covariances: ArrayLike | None = None,
) -> Trajectory:
    """Check poses, sort them by key, and keep the first of every key.

    Args:
        keys: (N,) stamps in nanoseconds or frame numbers, in any order.
        poses: (N, 4, 4) or (N, 3, 4) T_world_body.
        stamped: whether keys are stamps.
        name: see `Trajectory`.
        covariances: (N, 6, 6), see `Trajectory`, in the order of ``poses``. If sorting or a dropped pose separates a
            pose from its predecessor, its covariance becomes unknown.

    Raises:
        EvaluationError: there is no pose, or the lengths differ; see also `check_poses` and `check_covariances`.
    """
    numbers = np.asarray(keys, dtype=np.int64)
    if len(numbers) == 0:
        raise EvaluationError(f"{name}: no pose in it; expected at least one")
    whole = check_poses(poses, name)
    if numbers.shape != (len(whole),):
        raise EvaluationError(f"{name}: {numbers.size} stamps for {len(whole)} poses; expected the same number of each")
    unique, first = np.unique(numbers, return_index=True)  # sorts; return_index is the first occurrence
    kept: NDArray[np.float64] | None = None
    if covariances is not None:
        kept = check_covariances(covariances, len(whole), name)[first]
        kept[1:][np.diff(first) != 1] = np.nan
    return Trajectory(unique, whole[first], stamped, name, len(numbers) - len(unique), kept)


def associate(
    truth: ArrayLike, estimate: ArrayLike, max_difference: int = 0
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Match two increasing lists of keys by the smallest difference; every key is used once at most.

    Args:
        truth: (N,) keys, strictly increasing.
        estimate: (M,) keys, strictly increasing.
        max_difference: largest difference of a pair, in the keys' unit; 0 matches equal keys only.

    Returns:
        Indices into ``truth`` and into ``estimate``, (K,) each, both increasing.
    """
    gt, est = np.asarray(truth, dtype=np.int64), np.asarray(estimate, dtype=np.int64)
    if gt.size == 0 or est.size == 0:
        empty = np.zeros(0, dtype=np.intp)
        return empty, empty
    right = np.clip(np.searchsorted(gt, est), 0, gt.size - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(np.abs(gt[left] - est) <= np.abs(gt[right] - est), left, right)
    difference = np.abs(gt[nearest] - est)
    order = np.lexsort((difference, nearest))  # the closest candidate of every true pose comes first
    first = np.r_[True, np.diff(nearest[order]) > 0]
    chosen = np.sort(order[first & (difference[order] <= max_difference)])
    return nearest[chosen], chosen


def umeyama(
    source: ArrayLike, target: ArrayLike, with_scale: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return the least-squares similarity between matched points (Umeyama, PAMI 1991, equations 34 to 43).

    For points on a line, the rotation about it is undetermined; it does not change the aligned positions.

    Args:
        source: (N, 3).
        target: (N, 3).
        with_scale: estimate the scale; 1 otherwise.

    Returns:
        Rotation (3, 3), translation (3,) and scale with target = scale * R @ source + t.

    Raises:
        EvaluationError: ``with_scale`` is set, and the source does not move.
    """
    x, y = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    covariance = (y - mean_y).T @ (x - mean_x) / len(x)
    u, singular, vt = np.linalg.svd(covariance)
    sign = np.array([1.0, 1.0, -1.0 if np.linalg.det(u) * np.linalg.det(vt) < 0 else 1.0])
    rotation = (u * sign) @ vt
    scale = 1.0
    if with_scale:
        variance = float(((x - mean_x) ** 2).sum() / len(x))
        if variance == 0:
            raise EvaluationError("the estimate does not move, so no scale fits it; use the alignment none or 6dof")
        scale = float((singular * sign).sum() / variance)
    return rotation, mean_y - scale * rotation @ mean_x, scale


def rebase(poses: ArrayLike) -> NDArray[np.float64]:
    """Return (N, 4, 4) poses relative to the first of them."""
    values = np.asarray(poses, dtype=np.float64)
    return np.linalg.inv(values[0]) @ values


def align(truth: ArrayLike, estimate: ArrayLike, how: Alignment = "none") -> tuple[NDArray[np.float64], float]:
    """Align an estimate with the ground truth.

    ``none`` changes nothing. ``scale`` multiplies positions by sum(gt . est) / sum(est . est) without rotation.
    ``6dof`` and ``7dof`` fit a rigid or similarity transform to the positions and apply it to whole poses.
    ``umeyama_scale`` applies only the scale of the 7dof fit, as the reference's draw_odometry does.

    Args:
        truth: (N, 4, 4) poses relative to the first one.
        estimate: (N, 4, 4) poses relative to the first one.
        how: one of `ALIGNMENTS`.

    Returns:
        Aligned poses (N, 4, 4), and the factor on the estimate's positions (1 for none and 6dof).

    Raises:
        EvaluationError: the name is unknown, or the scale is undefined because one of the two does not move.
    """
    if how not in ALIGNMENTS:
        raise EvaluationError(f"alignment '{how}' is not known; expected one of {', '.join(ALIGNMENTS)}")
    gt, est = np.asarray(truth, dtype=np.float64), np.array(estimate, dtype=np.float64)
    if how == "none":
        return est, 1.0
    a, b = gt[:, :3, 3], est[:, :3, 3]
    if how == "6dof":
        rotation, translation, scale = umeyama(b, a, with_scale=False)
    else:
        for what, points in (("ground truth", a), ("estimate", b)):
            if np.ptp(points, axis=0).max() == 0:
                raise EvaluationError(f"the {what} does not move, so no scale fits; use the alignment none or 6dof")
        rotation, translation = np.eye(3), np.zeros(3)
        if how == "scale":
            scale = float((a * b).sum() / (b * b).sum())
        else:
            fitted = umeyama(b, a)
            scale = fitted[2]
            if how == "7dof":
                rotation, translation = fitted[0], fitted[1]
    est[:, :3, 3] *= scale
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = rotation, translation
    return transform @ est, scale


def turned_axes_deg(truth: ArrayLike, estimate: ArrayLike) -> float | None:
    """Return the apparent rotation between the axes of the two moving frames; None if they agree.

    A camera's optical axes have z forward, a robot's axes have x forward. If the trajectories use different axes, the
    directions of motion disagree, and one rotation makes all of them agree.

    Args:
        truth: (N, 4, 4) poses.
        estimate: (N, 4, 4) poses of the same frames, at any scale.

    Returns:
        The angle in degrees; None if the axes agree, or with fewer than three motions of sufficient length.
    """
    gt, est = np.asarray(truth, dtype=np.float64), np.asarray(estimate, dtype=np.float64)
    steps = [(np.linalg.inv(poses[:-1]) @ poses[1:])[:, :3, 3] for poses in (gt, est)]
    sizes = [np.linalg.norm(step, axis=1) for step in steps]
    counts = np.all([size > 0.3 * size.max(initial=0.0) for size in sizes], axis=0)
    if counts.sum() < 3:
        return None
    a, b = (step[counts] / size[counts, None] for step, size in zip(steps, sizes, strict=True))
    u, _, vt = np.linalg.svd(a.T @ b)
    turn = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    agreement, turned = float(np.mean(np.sum(a * b, axis=1))), float(np.mean(np.sum(a * (b @ turn.T), axis=1)))
    if agreement > _TURNED_COSINE or turned < _AGREEING_COSINE:
        return None
    return float(np.degrees(np.arccos(np.clip(agreement / turned, -1.0, 1.0))))
