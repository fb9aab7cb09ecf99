"""What a network's depth says of a keyframe's points: inverse depth up to a scale, or up to a scale and a shift.

Networks that were trained for metric or for relative depth give z-depth, right up to one factor a picture. Foreign ones
(Ranftl et al. 2020, "Towards robust monocular depth estimation") give an inverse depth d that is right up to a scale
and a shift a picture: ``1 / z = scale d + shift``. Either is solved from points that the window knows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Rounds of weighting, and the relative error beyond which a point counts less.
ROUNDS, HUBER = 8, 0.15
#: Spread of the network's inverse depth over its mean below which a shift cannot be told from a scale.
LEAST_SPREAD = 0.05
#: What is left at least of the network's inverse depth by a shift, share of the least value.
_LEFT = 0.1


@dataclass(frozen=True)
class InverseDepthFit:
    """``1 / z = scale d + shift``.

    Attributes:
        scale: unit of inverse depth per unit of ``d``, above 0.
        shift: unit of inverse depth.
    """

    scale: float
    shift: float

    def depth(self, inverse_depth: Floats, farthest: float) -> Floats:
        """z-depth of the network's inverse depths ``inverse_depth``, any shape; at most ``farthest``."""
        return np.asarray(1.0 / np.maximum(self.scale * inverse_depth + self.shift, 1.0 / farthest))


def fit_inverse_depth(inverse_depth: Floats, measured: Floats, with_shift: bool = True) -> InverseDepthFit | None:
    """Fit a network's inverse depth to points, errors taken relative to each point's depth and gross ones left out.

    Args:
        inverse_depth: (n,) the network's inverse depth at the points, not below 0.
        measured: (n,) inverse z-depth of the points, above 0.
        with_shift: solve for a shift as well; where the points cannot tell it, it is 0.

    Returns:
        The fit, or None where the points tell nothing: none, or a scale that is not above 0.
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
        weight = np.minimum(1.0, HUBER / np.maximum(error, 1e-9)) ** 2  # gross errors fade
        normal = (columns * weight[:, None]).T @ columns + 1e-9 * np.eye(2)
        scale, shift = np.linalg.solve(normal, (columns * weight[:, None]).sum(axis=0))
    if not scale > 0:
        return None
    return InverseDepthFit(float(scale), float(max(shift, -(1 - _LEFT) * scale * inverse_depth.min())))


def network_scale(inverse_depth: Floats, measured: Floats, with_shift: bool) -> tuple[float, float] | None:
    """Log scale and shift of a keyframe (see `local_map.Keyframe`) from points; arguments as `fit_inverse_depth`."""
    if not with_shift:  # the median of logarithms
        return -float(np.median(np.log(measured / inverse_depth))), 0.0
    fit = fit_inverse_depth(inverse_depth, measured)
    return None if fit is None else (-math.log(fit.scale), fit.shift / fit.scale)
