"""The standard deviation of depth per pixel, from a table of measured errors of similar pixels.

The relative error depends on these properties of a pixel:

- its depth relative to the median of the image;
- the step of depth around it;
- the number of measured points in reach;
- the local correction by these points: where the network was far off, the remaining error is larger, too;
- the leave-one-out error of the points around it.

So the standard deviation is:

    log(sigma / depth) = distance(log(depth / median depth)) + edge(log of the step of log depth)
                         + reach(points) + change(|log correction|) + spread(log of the points' leave-one-out error)

The last three terms are 0 where nothing was measured. Each term is piecewise linear between the knots below.
`test/benchmarks/uncertainty/sigma_table.py` measures them over rendered drives and a real recording with true depth. It
looks for heights that put 73 % of the errors below one standard deviation, and 95 % below two, as far as they can.
Errors have longer tails than the normal distribution: where 68 % lie below one, only 88 % lie below two. The table
belongs to no weights file: other weights of the compact model err alike in like places.

The error that is common to a whole frame is not included, because truth was scaled to the prediction's median before
the errors were measured. That error belongs to the scale: `ScaleState.variance` of log depth, one number per frame. To
get the variance of one pixel in metres, add ``depth**2 * variance``. Included in every pixel, it would hide the
differences between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

#: Knots of each term and its heights there, measured for an earlier `compact-nc`.
DISTANCE_KNOTS = (-1.2, -0.6, -0.2, 0.2, 0.6, 1.2)
DISTANCE_LOG = (-1.75, -1.7, -1.56, -1.7, -1.34, -1.7)
EDGE_KNOTS = (-4.5, -3.5, -2.5, -1.5, -0.5)
EDGE_LOG = (-0.35, -0.19, 0.0, 0.16, 0.63)
REACH_KNOTS = (0.0, 0.3, 1.0, 3.0, 8.0)
REACH_LOG = (0.0, -0.37, -0.47, -0.65, -1.08)
CHANGE_KNOTS = (0.0, 0.03, 0.08, 0.2, 0.5)
CHANGE_LOG = (0.0, -0.03, -0.03, 0.06, 0.25)
SPREAD_KNOTS = (-5.0, -4.0, -3.0, -2.0, -1.0)
SPREAD_LOG = (-0.78, -0.39, 0.03, 0.99, 1.42)
#: Smallest and largest sigma over depth, and the lower limit of the spread.
LEAST, MOST, LEAST_SPREAD = 0.005, 1.0, 1e-3
#: Window in which the step of log depth is taken, pixels.
_AROUND = 5


@dataclass(frozen=True)
class Support:
    """Support of a corrected depth by measured points.

    Attributes:
        reach: (h, w) float32 number of measured points in reach of each pixel, each weighted from 0 to 1.
        change: (h, w) float32 absolute local correction of log depth, without the common factor.
        spread: (h, w) float32 leave-one-out error, see `fusion.Correction`.
        share: remaining share of the correction, 0 to 1; (h, w) float32, or one number for all pixels.
    """

    reach: Image
    change: Image
    spread: Image
    share: Image | float = 1.0


def predictors(depth: Image) -> tuple[Image, Image]:
    """Return the inputs of the table: log depth over the median, and the logarithm of the step, (h, w) each.

    The step is the largest less the smallest log depth of the `_AROUND` x `_AROUND` neighbours.
    """
    log_depth = np.log(depth)
    around = np.ones((_AROUND, _AROUND), dtype=np.uint8)
    step = cv2.dilate(log_depth, around) - cv2.erode(log_depth, around)
    return log_depth - np.float32(np.median(log_depth)), np.log(np.maximum(step, np.float32(1e-3)))


def depth_sigma(depth: Image, support: Support | None = None) -> Image:
    """Return the (h, w) float32 standard deviation of a depth map, in its unit; finite and above 0.

    Args:
        depth: (h, w) float32, above 0, of the network or fused. It must have the size of the networks' output (half of
            their input), at which the steps in the table were measured.
        support: support by measured points; None: there is none.
    """
    distance, step = predictors(depth)
    log_sigma = _curve(distance, DISTANCE_KNOTS, DISTANCE_LOG) + _curve(step, EDGE_KNOTS, EDGE_LOG)
    if support is not None:
        log_sigma += _curve(support.reach, REACH_KNOTS, REACH_LOG) + _curve(support.change, CHANGE_KNOTS, CHANGE_LOG)
        spread = np.log(np.maximum(support.spread, np.float32(LEAST_SPREAD)))
        log_sigma += np.float32(support.share) * _curve(spread, SPREAD_KNOTS, SPREAD_LOG)
    return np.asarray(depth * np.clip(np.exp(log_sigma), LEAST, MOST), dtype=np.float32)


def _curve(values: Image, knots: NDArray[np.float64] | tuple[float, ...], heights: tuple[float, ...]) -> Image:
    """Return a piecewise linear function of ``values``, constant beyond the outer knots."""
    return np.asarray(np.interp(values, knots, heights), dtype=np.float32)
