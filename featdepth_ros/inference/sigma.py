"""The standard deviation of depth, pixel by pixel: what errors were measured to be in like places.

The relative error is a product of what is known of a pixel:

- how far it lies beside the rest of the picture;
- how strongly the depth bends around it;
- how many measured points reach it;
- how much they changed its depth beside the rest: where the network was far off, what is left is larger as well;
- how well the points around it predict each other.

So the standard deviation is:

    log(sigma / depth) = distance(log(depth / median depth)) + edge(log of the step of log depth)
                         + reach(points) + change(|log correction|) + spread(log of the points' leave-one-out error)

The last three are 0 where nothing was measured. Each term is piecewise linear between the knots below.
`test/benchmarks/sigma_table.py` measures them over rendered drives and a real recording with true depth. It looks for
heights that put 73 % of the errors below one standard deviation, and 95 % below two, as far as they can. (Errors have
longer tails than the normal distribution: where 68 % lie below one, only 88 % lie below two.) The table belongs to no
weights file: other weights of the compact model err alike in like places.

The error that is common to a whole frame is not in it: truth was scaled to the prediction's median before errors were
taken. That error belongs to the scale and has one number a frame, `ScaleState.variance` of log depth. Who needs the
deviation of one pixel in metres adds ``depth**2 * variance``. Spread over the pixels it would say that each is
uncertain by itself, and drown what differs between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

#: Knots of each term and its heights there, measured for the weights `compact-nc`.
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
#: Smallest and largest sigma over depth, and the smallest spread that counts.
LEAST, MOST, LEAST_SPREAD = 0.005, 1.0, 1e-3
#: Window in which the step of log depth is taken, pixels.
_AROUND = 5


@dataclass(frozen=True)
class Support:
    """What measured points a corrected depth rests on.

    Attributes:
        reach: (h, w) float32 measured points in reach of each pixel, each weighing 0 to 1.
        change: (h, w) float32 size of the correction of log depth, the factor of the whole frame aside, not below 0.
        spread: (h, w) float32, see `fusion.Correction`.
        share: 0 to 1, how much of the correction is left; (h, w) float32, or one number for all pixels.
    """

    reach: Image
    change: Image
    spread: Image
    share: Image | float = 1.0


def predictors(depth: Image) -> tuple[Image, Image]:
    """Return what the table looks a pixel up by: log depth over the median's, and the logarithm of the step around it.

    The step is the largest less the smallest log depth of the `_AROUND` x `_AROUND` neighbours.
    """
    log_depth = np.log(depth)
    around = np.ones((_AROUND, _AROUND), dtype=np.uint8)
    step = cv2.dilate(log_depth, around) - cv2.erode(log_depth, around)
    return log_depth - np.float32(np.median(log_depth)), np.log(np.maximum(step, np.float32(1e-3)))


def depth_sigma(depth: Image, support: Support | None = None) -> Image:
    """Return the (h, w) float32 standard deviation of a depth map, in its unit; finite and above 0.

    Args:
        depth: (h, w) float32, above 0; of the network, or fused. Its size is that of the networks' output (half of what
            they look at): the table knows the step around a pixel at this size.
        support: the points that corrected the depth; None: there are none.
    """
    distance, step = predictors(depth)
    log_sigma = _curve(distance, DISTANCE_KNOTS, DISTANCE_LOG) + _curve(step, EDGE_KNOTS, EDGE_LOG)
    if support is not None:
        log_sigma += _curve(support.reach, REACH_KNOTS, REACH_LOG) + _curve(support.change, CHANGE_KNOTS, CHANGE_LOG)
        spread = np.log(np.maximum(support.spread, np.float32(LEAST_SPREAD)))
        log_sigma += np.float32(support.share) * _curve(spread, SPREAD_KNOTS, SPREAD_LOG)
    return np.asarray(depth * np.clip(np.exp(log_sigma), LEAST, MOST), dtype=np.float32)


def _curve(values: Image, knots: NDArray[np.float64] | tuple[float, ...], heights: tuple[float, ...]) -> Image:
    """Piecewise linear, constant beyond the outer knots."""
    return np.asarray(np.interp(values, knots, heights), dtype=np.float32)
