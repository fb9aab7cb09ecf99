"""Calibration of uncertainties: standard deviations of depth and covariances of motion. numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featdepth_ros.errors import EvaluationError

#: Metrics of a depth's standard deviation, in their printed order.
SIGMA_METRICS = ("within_1_sigma", "within_2_sigma", "ause")
#: Number of bins of the sparsification curves.
SPARSIFICATION_BINS = 100
#: Standard deviation on any axis from which a motion is unknown, as for first frames, gaps and lost frames.
UNKNOWN_STD_M, UNKNOWN_STD_RAD = 15.0, 0.5
#: Least eigenvalue of the correlation matrix of a regular covariance.
_SMALLEST_EIGENVALUE = 1e-12


def _sparsification(errors: NDArray[np.float64], order_by: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the remaining errors after removal of 0, 1, ... 99 hundredths by descending ``order_by``."""
    _, group, counts = np.unique(-order_by, return_inverse=True, return_counts=True)
    # Equal values have no order, so each gets the mean error of its group.
    means = np.bincount(group, weights=errors) / counts
    ordered = np.repeat(means, counts)
    kept = np.cumsum(ordered[::-1])[::-1] / np.arange(errors.size, 0, -1)
    taken = np.arange(SPARSIFICATION_BINS) * errors.size // SPARSIFICATION_BINS
    curve: NDArray[np.float64] = kept[taken]
    return curve


def area_under_sparsification_error(errors: ArrayLike, uncertainty: ArrayLike) -> float:
    """Return the area under the sparsification error (AUSE), divided by the mean error.

    The source is Ilg et al. (ECCV 2018) and Poggi et al. (CVPR 2020). The pixels of largest uncertainty are removed in
    steps of one hundredth. The mean error of the others is compared with that for the order of the errors themselves. 0
    is a perfect order. Equal uncertainties count as the average over their orders.

    Args:
        errors: (N,) errors, at least 0; N at least 1.
        uncertainty: (N,) finite values, of which only the order is used.
    """
    values = np.asarray(errors, dtype=np.float64).ravel()
    mean = float(values.mean())
    if mean == 0:
        return 0.0
    stated = _sparsification(values, np.asarray(uncertainty, dtype=np.float64).ravel())
    return float(np.mean(stated - _sparsification(values, values)) / mean)


def sigma_figures(truth: ArrayLike, prediction: ArrayLike, sigma: ArrayLike) -> dict[str, float]:
    """Evaluate the standard deviations of matching pixels.

    Args:
        truth: (N,) metres, above 0.
        prediction: (N,) metres.
        sigma: (N,) standard deviation of ``prediction``, metres.

    Returns:
        ``within_1_sigma`` and ``within_2_sigma``, the shares of pixels whose error is at most one and two standard
        deviations (0.68 and 0.95 for normal errors). ``ause`` is `area_under_sparsification_error` of the relative
        error.

    Raises:
        EvaluationError: there is no pixel, the lengths differ, or a standard deviation is not finite and at least 0.
    """
    gt, pred, std = (np.asarray(values, dtype=np.float64).ravel() for values in (truth, prediction, sigma))
    if not gt.size == pred.size == std.size or gt.size == 0:
        raise EvaluationError(
            f"{gt.size} true and {pred.size} predicted depths, {std.size} standard deviations; expected the same "
            "number of each, at least 1"
        )
    bad = ~(np.isfinite(std) & (std >= 0))
    if bad.any():
        raise EvaluationError(f"{int(bad.sum())} standard deviations are not finite and at least 0; correct them")
    error = np.abs(pred - gt)
    return {
        "within_1_sigma": float(np.mean(error <= std)),
        "within_2_sigma": float(np.mean(error <= 2 * std)),
        "ause": area_under_sparsification_error(error / gt, std),
    }


@dataclass(frozen=True)
class Consistency:
    """Consistency of covariances of motion with its errors.

    Attributes:
        nees: mean normalised estimation error squared (NEES) of the increments per degree of freedom. It is 1 for
            consistent covariances, and above 1 for too small ones. None if no increment is used.
        left_out: number of excluded frames: the first, and those with an unknown motion.
        notes: remarks on the metric for the reader.
    """

    nees: float | None
    left_out: int
    notes: tuple[str, ...] = ()


def check_covariances(covariances: ArrayLike, frames: int, name: str = "covariances") -> NDArray[np.float64]:
    """Return (N, 6, 6) float64 covariances after a check.

    Raises:
        EvaluationError: the shape is not (``frames``, 6, 6), or a finite matrix is not symmetric.
    """
    values = np.asarray(covariances, dtype=np.float64)
    if values.shape != (frames, 6, 6):
        raise EvaluationError(
            f"{name}: covariances have shape {values.shape}; expected ({frames}, 6, 6), one for each pose"
        )
    known = values[np.isfinite(values).all(axis=(1, 2))]
    apart = np.abs(known - np.swapaxes(known, 1, 2)).max(axis=(1, 2), initial=0.0)
    if (apart > 1e-6 * np.abs(known).max(axis=(1, 2), initial=0.0)).any():
        raise EvaluationError(f"{name}: {int((apart > 0).sum())} covariances are not symmetric; correct them")
    return values


def _rotation_vectors(rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotation vectors (N, 3) of (N, 3, 3) rotations below half a turn, accurate for small ones."""
    skew = (rotations - np.swapaxes(rotations, 1, 2)) / 2
    axis_sine = np.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], axis=1)
    sine = np.linalg.norm(axis_sine, axis=1)
    angle = np.arctan2(sine, (np.trace(rotations, axis1=1, axis2=2) - 1) / 2)
    factor: NDArray[np.float64] = np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 1.0)
    return axis_sine * factor[:, None]


def increment_errors(truth: ArrayLike, estimate: ArrayLike) -> NDArray[np.float64]:
    """Return the (N-1, 6) errors of the motions between consecutive poses, in the order of a motion's covariance.

    The first three are true minus estimated translation, metres. The others are the rotation from estimate to truth,
    radians. Both are in the axes of the earlier pose.

    Args:
        truth: (N, 4, 4) poses.
        estimate: (N, 4, 4) poses of the same frames.
    """
    gt, est = np.asarray(truth, dtype=np.float64), np.asarray(estimate, dtype=np.float64)
    step_gt, step_est = np.linalg.inv(gt[:-1]) @ gt[1:], np.linalg.inv(est[:-1]) @ est[1:]
    turned = step_gt[:, :3, :3] @ np.swapaxes(step_est[:, :3, :3], 1, 2)
    return np.concatenate([step_gt[:, :3, 3] - step_est[:, :3, 3], _rotation_vectors(turned)], axis=1)


def evaluate_covariances(
    truth: ArrayLike, estimate: ArrayLike, covariances: ArrayLike, name: str = "estimate"
) -> Consistency:
    """Evaluate the covariances of the motions between consecutive poses.

    Args:
        truth: (N, 4, 4) poses.
        estimate: (N, 4, 4) poses of the same frames, without a scale by an alignment.
        covariances: (N, 6, 6), m^2 and rad^2. Row i belongs to the motion from pose i-1 to pose i: x y z, then
            rotation, in the axes of pose i-1. A row that is not finite, or from `UNKNOWN_STD_M` and `UNKNOWN_STD_RAD`
            upwards, is an unknown motion; row 0 is never used.
        name: name of the estimate in notes.
    """
    rows = np.asarray(covariances, dtype=np.float64)[1:]
    errors = increment_errors(truth, estimate)
    variances = np.diagonal(rows, axis1=1, axis2=2)
    limit = np.repeat([UNKNOWN_STD_M**2, UNKNOWN_STD_RAD**2], 3)
    with np.errstate(invalid="ignore"):
        known = np.asarray(np.isfinite(rows).all(axis=(1, 2)) & (variances < limit).all(axis=1))
    # Metres and radians have different sizes, so singular matrices are detected in the correlations.
    scale = np.where(known[:, None], np.sqrt(np.maximum(variances, 1e-300)), 1.0)
    normal = np.where(known[:, None, None], rows, np.eye(6)) / (scale[:, :, None] * scale[:, None, :])
    spectrum = np.linalg.eigvalsh(normal)
    definite = (np.diagonal(normal, axis1=1, axis2=2) > 0.5).all(axis=1) & (spectrum[:, 0] > _SMALLEST_EIGENVALUE)
    singular, counts = known & ~definite, known & definite
    notes: list[str] = []
    if singular.any():
        notes.append(f"{name}: {int(singular.sum())} covariances are zero or singular and do not count in nees")
    left_out = len(rows) + 1 - int(counts.sum())
    if not counts.any():
        return Consistency(None, left_out, tuple(notes))
    scaled = errors[counts] / scale[counts]
    squares = np.einsum("ni,ni->n", scaled, np.linalg.solve(normal[counts], scaled[..., None])[..., 0])
    return Consistency(float(squares.mean() / 6), left_out, tuple(notes))
