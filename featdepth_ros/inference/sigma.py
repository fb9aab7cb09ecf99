"""The standard deviation of depth, pixel by pixel: what errors were measured to be in like places.

The relative error is a product of what is known of a pixel: how far it lies beside the rest of the picture, how
strongly the prediction bends around it, how many measured points reach it, and how far the network strayed at the
points of this frame:

    sigma / depth = BASE * distance(log(depth / median depth)) * edge(step of log depth) * reach(points) * level**POWER

The factors are piecewise linear between the knots below. `test/benchmarks/sigma_table.py` measures them: it regresses
the logarithm of the absolute relative error on the knots, over rendered drives and real recordings with true depth
that no figure is given on, and sets BASE so that 71 % of the errors lie within one standard deviation. (Errors have
longer tails than the normal distribution; this share puts 95 % within about two.)

The error that is common to a whole frame is not in it: truth was scaled to the prediction's median before errors were
taken. That error belongs to the scale and has one number a frame, `ScaleState.variance` of log depth; who needs the
deviation of one pixel in metres adds ``depth**2 * variance``. Spread over the pixels it would say that each is
uncertain by itself, and drown what differs between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Support:
    """What measured points say about a frame.

    Attributes:
        reach: (h, w) float32; number of trusted points in reach of each pixel, each weighing 0 to 1.
        level: standard deviation of log depth, the network's against the points.
    """

    reach: Image
    level: float


#: Knots and the natural logarithm of each factor at them.
DISTANCE_KNOTS = (-1.2, -0.6, -0.2, 0.2, 0.6, 1.2)
DISTANCE_LOG = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
EDGE_KNOTS = (0.01, 0.03, 0.1, 0.3, 1.0)
EDGE_LOG = (0.0, 0.0, 0.0, 0.0, 0.0)
REACH_KNOTS = (0.0, 0.3, 1.0, 3.0, 8.0)
REACH_LOG = (0.0, 0.0, 0.0, 0.0, 0.0)
LEVEL_POWER, BASE = 0.5, 0.3
#: Without points: what the level usually is. And the range that a frame's level may have.
USUAL_LEVEL, LEVELS = 0.15, (0.03, 0.5)
#: Smallest and largest sigma over depth.
LEAST, MOST = 0.005, 1.0
#: Window in which the step of log depth is taken, pixels.
_AROUND = 5


def predictors(depth: Image) -> tuple[Image, Image]:
    """Return what the table looks a pixel up by: log depth over the median's, and the step of log depth around it.

    The step is the largest less the smallest log depth of the `_AROUND` x `_AROUND` neighbours.
    """
    log_depth = np.log(depth)
    around = np.ones((_AROUND, _AROUND), dtype=np.uint8)
    step = cv2.dilate(log_depth, around) - cv2.erode(log_depth, around)
    return log_depth - np.float32(np.median(log_depth)), step


def depth_sigma(depth: Image, support: Support | None = None) -> Image:
    """Return the (h, w) float32 standard deviation of a depth map, in its unit; finite and above 0.

    Args:
        depth: (h, w) float32, above 0; of the network, or fused.
        support: what points say; None: there are none.
    """
    distance, step = predictors(depth)
    log_sigma = _curve(distance, DISTANCE_KNOTS, DISTANCE_LOG)
    log_sigma += _curve(np.log(np.maximum(step, EDGE_KNOTS[0])), np.log(EDGE_KNOTS), EDGE_LOG)
    reach = np.zeros_like(depth) if support is None else support.reach
    log_sigma += _curve(reach, REACH_KNOTS, REACH_LOG)
    level = USUAL_LEVEL if support is None else float(np.clip(support.level, *LEVELS))
    log_sigma += np.float32(np.log(BASE) + LEVEL_POWER * np.log(level))
    return depth * np.clip(np.exp(log_sigma), LEAST, MOST)


def _curve(values: Image, knots: NDArray[np.float64] | tuple[float, ...], heights: tuple[float, ...]) -> Image:
    """Piecewise linear, constant beyond the outer knots."""
    return np.interp(values, knots, heights).astype(np.float32)
