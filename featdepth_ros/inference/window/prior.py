"""Fits a network's inverse depth to measured points: with a scale, or with a scale and a shift.

This package's networks give z-depth that is correct up to one factor per image. Relative networks of third parties
(Ranftl et al. 2020, "Towards robust monocular depth estimation") give an inverse depth d. It is correct up to a scale
and a shift per image: ``1 / z = scale d + shift``. Both are estimated from known points of the window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Number of reweighting rounds, and the relative error above which a point has a lower weight.
ROUNDS, HUBER = 8, 0.15
#: Standard deviation over mean of the network's inverse depth below which scale and shift cannot be separated.
LEAST_SPREAD = 0.05
#: A negative shift leaves at least this share of the network's smallest inverse depth.
_LEFT = 0.1


@dataclass(frozen=True)
class InverseDepthFit:
    """The calibration ``1 / z = scale d + shift`` of a network's inverse depth d.

    Attributes:
        scale: unit of inverse depth per unit of ``d``, above 0.
        shift: unit of inverse depth.
    """

    scale: float
    shift: float

    def depth(self, inverse_depth: Floats, farthest: float) -> Floats:
        """Return the z-depth, at most ``farthest``, of the network's ``inverse_depth``, of any shape."""
        return np.asarray(1.0 / np.maximum(self.scale * inverse_depth + self.shift, 1.0 / farthest))


def fit_inverse_depth(inverse_depth: Floats, measured: Floats, with_shift: bool = True) -> InverseDepthFit | None:
    """Fit a network's inverse depth to measured points, with relative errors and robust weights.

    Args:
        inverse_depth: (n,) the network's inverse depth at the points, at least 0.
        measured: (n,) inverse z-depth of the points, above 0.
        with_shift: estimate a shift as well; it is 0 if the points do not determine it.

    Returns:
        The fit; None without points, or if the scale is not above 0.
    """
    good = np.isfinite(inverse_depth) & np.isfinite(measured) & (measured > 0)
    inverse_depth, measured = inverse_depth[good], measured[good]
    if not len(inverse_depth) or not inverse_depth.mean() > 0:
        return None
    ratio = measured / np.maximum(inverse_depth, 1e-3 * inverse_depth.mean())
    scale, shift = float(np.median(ratio)), 0.0
    if not (with_shift and len(inverse_depth) > 2 and np.std(inverse_depth) > LEAST_SPREAD * inverse_depth.mean()):
        return InverseDepthFit(scale, 0.0) if scale > 0 else None
    columns = np.stack([inverse_depth, np.ones(len(inverse_depth))], axis=1) / measured[:, None]
    for _ in range(ROUNDS):
        error = np.abs(columns @ np.array([scale, shift]) - 1.0)
        weight = np.minimum(1.0, HUBER / np.maximum(error, 1e-9)) ** 2  # gross errors lose their weight
        normal = (columns * weight[:, None]).T @ columns + 1e-9 * np.eye(2)
        scale, shift = np.linalg.solve(normal, (columns * weight[:, None]).sum(axis=0))
    if not scale > 0:
        return None
    return InverseDepthFit(float(scale), float(max(shift, -(1 - _LEFT) * scale * inverse_depth.min())))


def network_scale(inverse_depth: Floats, measured: Floats, with_shift: bool) -> tuple[float, float] | None:
    """Return log scale and shift of a keyframe (see `records.Keyframe`); arguments as `fit_inverse_depth`."""
    if not with_shift:  # the median of logarithms
        return -float(np.median(np.log(measured / inverse_depth))), 0.0
    fit = fit_inverse_depth(inverse_depth, measured)
    return None if fit is None else (-math.log(fit.scale), fit.shift / fit.scale)
