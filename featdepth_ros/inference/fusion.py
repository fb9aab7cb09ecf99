"""A network's depth corrected by the points that a window of frames measured. numpy and OpenCV only.

The correction is a smooth field of log depth. Gaussian process regression finds it from the logarithm of measured over
predicted depth at the points (Rasmussen and Williams, 2006, chapter 2). Its prior is a sum of three parts:

- a factor common to the whole frame;
- a field that varies slowly across the image;
- a field of short range that lives on the surfaces of the predicted depth.

The kernel of the third also falls with the difference of log depth. So what was measured on an object does not bleed
over its edge (the bilateral idea of Tomasi and Manduchi, 1998).

A point weighs by what images say about it, and less where the prediction has an edge. Points that disagree with their
neighbours lose their weight (Student's t errors, by reweighting). The field falls to zero where nothing was measured
nearby. The common factor stays, because the whole frame shares it. Without usable points there is no correction.

Points can be wrong together and agree with each other: on vehicles that move along, or under a rolling shutter that
turns quickly. Three rules keep depth from following them. A point that claims more than networks usually err, relative
to the others, is doubted and loses weight. Points that predict each other worse than they state (leave one out) all
weigh less. And some frames have many doubted points, or points that are not worth a number of good ones. They are
corrected in part, or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from featdepth_ros.geometry.cameras import CameraModel

Image = NDArray[np.float32]
Floats = NDArray[np.float64]

#: Prior standard deviation of log depth: of the common factor, of the slow field, of the field on surfaces. These and
#: the ranges below were chosen on rendered scenes and a part of 7-Scenes that no figure is given on.
COMMON, SLOW, LOCAL = 0.3, 0.25, 0.2
#: Ranges of the two fields, share of the image's width; range of the second in log depth.
SLOW_RANGE, LOCAL_RANGE, LOCAL_DEPTH_RANGE = 0.25, 0.065, 0.15
#: - `NOISE`: noise of a measured log ratio beside the point's own.
#: - `EDGE_NOISE`: the share of the prediction's step at the point that counts as noise. The step is the largest over
#:   the smallest log depth of its 3x3 neighbours.
NOISE, EDGE_NOISE = 0.02, 0.6
#: What the window's variances are multiplied with. On rendered recordings they are honest. On real ones errors are two
#: to three times what they say (rolling shutter, lens, what moves). And points of one surface err alike there.
VARIANCE_FACTOR = 4.0
#: Degrees of freedom of the errors, and rounds of weighting.
FREEDOM, ROUNDS = 2.0, 3
#: Log ratio beside the median's beyond which a point is doubted: networks err by 0.1 to 0.2 in most scenes. Its
#: variance grows with the fourth power.
DOUBTED = 0.37
#: Networks have far things too near. So the median is one of a trend along log depth, of at most this slope; what moves
#: along shows a falling one, and gets none.
MOST_TREND = 0.4
#: Share of doubted points up to which a frame is trusted in full, and from which on not at all. It is at most 0.2 where
#: the world stands still; among lorries that move along, and under a rolling shutter that turns, it is 0.26 and more.
FEW_DOUBTED, MANY_DOUBTED = 0.2, 0.32
#: Median error of the points as the others predict them, over what is stated: above it all variances grow. It is
#: below 1 where all is well, as `VARIANCE_FACTOR` is cautious.
USUAL_MISFIT = 0.4
#: Share of the points that a frame's `Correction.spread` covers, per cent.
SPREAD_PERCENT = 80.0
#: Number of fully trusted points below which nothing is corrected, and from which on everything is.
LEAST_TRUST, FULL_TRUST = 10.0, 30.0
#: Points with less information than this (a standard deviation of 0.5) say no more than the network's prior.
LEAST_INFORMATION = 4.0
#: Points below which nothing is corrected, and above which the best of each cell are taken: the cost is cubic.
LEAST_POINTS, MOST_POINTS = 8, 256
#: Largest local correction of log depth.
LARGEST = 0.7
#: Distance of the coarse grid's nodes in image and log depth, share of the local kernel's ranges.
_NODE_STEP, _DEPTH_STEP = 0.6, 1.0


class MeasuredPoints(Protocol):
    """Points that the newest rectified image shows; what the window gives.

    Attributes:
        pixels: (N, 2) columns and rows.
        depth: (N,) z-depth, above 0.
        information: (N,) inverse variance of its logarithm as far as images gave it, the network's prior not.
    """

    @property
    def pixels(self) -> Floats: ...  # noqa: D102 - see the class
    @property
    def depth(self) -> Floats: ...  # noqa: D102
    @property
    def information(self) -> Floats: ...  # noqa: D102


@dataclass(frozen=True)
class Correction:
    """What to multiply a depth map with.

    Attributes:
        log_ratio: (h, w) float32 natural logarithm of corrected over given depth, finite.
        reach: (h, w) float32 number of trusted points in reach of each pixel, each weighing 0 to 1.
        common_log_ratio: the part of ``log_ratio`` that the whole frame shares.
        confidence: 0 to 1: how far the points of this frame suffice. ``log_ratio`` and ``reach`` contain it.
        spread: how well the points of this frame predict each other. Of four points in five, measured log depth is at
            most so far from what all the others say.
        points: number of points that were used.
    """

    log_ratio: Image
    reach: Image
    common_log_ratio: float
    confidence: float
    spread: float
    points: int


@dataclass(frozen=True)
class _Samples:
    """Points as the regression sees them.

    Attributes:
        place: (N, 2) column and row, in widths of the image.
        log_depth: (N,) predicted.
        log_ratio: (N,) logarithm of measured over predicted depth.
        variance: (N,) of ``log_ratio``.
        aspect: height over width of a pixel of the depth map: maps at the networks' size are squeezed.
    """

    place: Floats
    log_depth: Floats
    log_ratio: Floats
    variance: Floats
    aspect: float


@dataclass(frozen=True)
class _Regression:
    """What the points say.

    Attributes:
        weights: (N,) of the kernels.
        trust: (N,) in each point, 0 to 1. Weights and trust contain the share.
        share: of the correction that the frame's points are worth, 0 to 1.
        spread: see `Correction`.
    """

    weights: Floats
    trust: Floats
    share: float
    spread: float


def find_correction(depth: Image, points: MeasuredPoints, camera: CameraModel) -> Correction | None:
    """Find how measured points correct a network's depth.

    Args:
        depth: (h, w) float32, above 0, in the unit of the points. The correction does not depend on its size.
        points: what the window measured, in pixels of the rectified image.
        camera: of the rectified image: its size places the points in ``depth``.

    Returns:
        The correction; None without `LEAST_POINTS` usable points, or where they are not worth `LEAST_TRUST`.
    """
    log_depth = np.log(depth)
    samples = _samples(log_depth, points, camera)
    if samples is None:
        return None
    found = _regress(samples)
    if found.share <= 0:
        return None
    common = COMMON**2 * float(found.weights.sum())
    field, reach = _fields(log_depth, samples, found.weights, found.trust)
    log_ratio = np.float32(common) + np.clip(field, -LARGEST, LARGEST)
    return Correction(log_ratio, reach, common, found.share, found.spread, len(samples.log_ratio))


def _samples(log_depth: Image, points: MeasuredPoints, camera: CameraModel) -> _Samples | None:
    """Choose the points that say something and look the prediction up at them; None when they are too few."""
    height, width = log_depth.shape
    scale = np.array([width / camera.width, height / camera.height])
    pixels = (points.pixels + 0.5) * scale - 0.5
    inside = ((pixels >= -0.5) & (pixels <= np.array([width, height]) - 0.5)).all(axis=1)
    usable = inside & (points.information > LEAST_INFORMATION) & (points.depth > 0) & np.isfinite(points.depth)
    chosen = np.flatnonzero(usable)
    if len(chosen) < LEAST_POINTS:
        return None
    if len(chosen) > MOST_POINTS:
        chosen = chosen[_spread(pixels[chosen], points.information[chosen], width)]
    pixels, place = pixels[chosen], pixels[chosen] / width
    aspect = float(scale[0] / scale[1])
    place[:, 1] *= aspect
    around = np.ones((3, 3), dtype=np.uint8)
    step = cv2.dilate(log_depth, around) - cv2.erode(log_depth, around)
    predicted, edge = (_look_up(values, pixels) for values in (log_depth, step))
    variance = VARIANCE_FACTOR / points.information[chosen] + NOISE**2 + (EDGE_NOISE * edge) ** 2
    return _Samples(place, predicted, np.log(points.depth[chosen]) - predicted, variance, aspect)


def _spread(pixels: Floats, information: Floats, width: int) -> NDArray[np.intp]:
    """Positions of `MOST_POINTS` points: the best of every cell first, then the second best, and so on."""
    cell = np.floor(pixels / (LOCAL_RANGE * width)).astype(np.int64) @ np.array([1, 1 << 20])
    order = np.lexsort((-information, cell))
    _, first, counts = np.unique(cell[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(first, counts)
    chosen: NDArray[np.intp] = order[np.lexsort((-information[order], rank))[:MOST_POINTS]]
    return chosen


def _look_up(values: Image, pixels: Floats) -> Floats:
    """Bilinear values of a map at (N, 2) pixels."""
    x, y = pixels.astype(np.float32).T
    found = cv2.remap(values, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found[0], dtype=np.float64)


def _gaussian(distance: Floats, reach: float) -> Floats:
    # Products of numbers that underflow take ten times as long.
    return np.exp(np.maximum(-0.5 * np.square(distance / reach), -100.0))


def _kernel(samples: _Samples) -> Floats:
    """Return the (N, N) prior covariance of the correction at the points."""
    place, log_depth = samples.place.astype(np.float32), samples.log_depth.astype(np.float32)
    squared = np.square(place[:, None, 0] - place[:, 0]) + np.square(place[:, None, 1] - place[:, 1])
    bend = np.square(log_depth[:, None] - log_depth)
    near = np.exp(squared * np.float32(-0.5 / LOCAL_RANGE**2) + bend * np.float32(-0.5 / LOCAL_DEPTH_RANGE**2))
    slow = np.exp(squared * np.float32(-0.5 / SLOW_RANGE**2))
    return np.asarray(COMMON**2 + SLOW**2 * slow + LOCAL**2 * near, dtype=np.float64)


def _beside_trend(samples: _Samples) -> Floats:
    """Log ratios (N,) less the median and less a rising trend along log depth, from the near to the far third."""
    ratio, depth = samples.log_ratio, samples.log_depth
    near, far = (depth <= np.quantile(depth, 1 / 3)), (depth >= np.quantile(depth, 2 / 3))
    rise = float(np.median(ratio[far]) - np.median(ratio[near]))
    run = float(np.median(depth[far]) - np.median(depth[near]))
    left = ratio - min(max(rise / run, 0.0), MOST_TREND) * depth if run > 0 else ratio
    return np.asarray(left - np.median(left))


def _regress(samples: _Samples) -> _Regression:
    """Find the weights of the kernels, ``inv(K + V) y``; V is the points' variance over what Student's t gives them."""
    kernel, ratio = _kernel(samples), samples.log_ratio
    doubt = np.abs(_beside_trend(samples)) / DOUBTED
    variance = samples.variance * np.maximum(1, doubt) ** 4
    agreement = np.ones(len(ratio))
    for _ in range(ROUNDS - 1):
        weights = _solved(kernel, variance / agreement, ratio)
        agreement = (FREEDOM + 1) / (FREEDOM + np.square(ratio - kernel @ weights) / variance)
    inverse = cv2.invert(_with_noise(kernel, variance / agreement), flags=cv2.DECOMP_CHOLESKY)[1]
    weights, certainty = inverse @ ratio, np.diag(inverse)
    # What all the others say of each point: Rasmussen and Williams, equation 5.12. Its own noise counts in full.
    errors = np.abs(weights / certainty)
    stated = np.maximum(1 / certainty - variance / agreement, 0) + variance
    misfit = float(np.median(errors / np.sqrt(stated))) / 0.6745
    if misfit > USUAL_MISFIT:
        variance = variance * (misfit / USUAL_MISFIT) ** 2
        weights = _solved(kernel, variance / agreement, ratio)
    trust = 1 / (1 + variance / (LOCAL**2 * np.minimum(agreement, 1)))
    share = float(np.clip((trust.sum() - LEAST_TRUST) / (FULL_TRUST - LEAST_TRUST), 0, 1))
    share *= float(np.clip((MANY_DOUBTED - np.mean(doubt > 1)) / (MANY_DOUBTED - FEW_DOUBTED), 0, 1))
    return _Regression(
        np.asarray(share * weights), np.asarray(share * trust), share, float(np.percentile(errors, SPREAD_PERCENT))
    )


def _with_noise(kernel: Floats, variance: Floats) -> Floats:
    """Return the (N, N) covariance of what is measured at the points: the prior's, and (N,) noise on its diagonal."""
    covariance = kernel.copy()
    covariance.flat[:: len(kernel) + 1] += variance
    return covariance


def _solved(kernel: Floats, variance: Floats, ratio: Floats) -> Floats:
    """Return ``inv(K + V) y``, (N,). By Cholesky: a third of the time of NumPy's solve, which knows no symmetry."""
    return np.asarray(cv2.solve(_with_noise(kernel, variance), ratio, flags=cv2.DECOMP_CHOLESKY)[1][:, 0])


def _fields(log_depth: Image, samples: _Samples, weights: Floats, trust: Floats) -> tuple[Image, Image]:
    """Return the correction of log depth, the common factor aside, and the trusted points in reach of each pixel.

    The kernels are separable, so both are summed on a coarse grid of image and log depth and interpolated from it.
    """
    height, width = log_depth.shape
    node = _NODE_STEP * LOCAL_RANGE
    rows, columns = max(2, round(height / width * samples.aspect / node)), max(2, round(1 / node))
    x = ((np.arange(columns) + 0.5) / columns * width - 0.5) / width
    y = ((np.arange(rows) + 0.5) / rows * height - 0.5) / width * samples.aspect

    def kernels(reach: float) -> tuple[Floats, Floats]:
        return _gaussian(y[:, None] - samples.place[:, 1], reach), _gaussian(x[:, None] - samples.place[:, 0], reach)

    def grown(nodes: Floats) -> Image:
        return np.asarray(cv2.resize(nodes.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR))

    down, across = kernels(SLOW_RANGE)
    slow = grown(SLOW**2 * (down * weights) @ across.T)
    down, across = kernels(LOCAL_RANGE)
    columns_of_both = np.concatenate([LOCAL**2 * weights[:, None] * across.T, trust[:, None] * across.T], axis=1)
    step = _DEPTH_STEP * LOCAL_DEPTH_RANGE
    lowest = float(samples.log_depth.min()) - 2 * LOCAL_DEPTH_RANGE
    highest = float(samples.log_depth.max()) + 2 * LOCAL_DEPTH_RANGE
    layers = lowest + step * np.arange(int(np.ceil((highest - lowest) / step)) + 1)
    at = down * _gaussian(samples.log_depth - layers[:, None], LOCAL_DEPTH_RANGE)[:, None]
    found = (at.reshape(-1, len(weights)) @ columns_of_both).reshape(len(layers), rows, 2, columns)
    nodes = np.zeros((rows, columns, len(layers) + 2, 2))  # beyond the first and the last layer nothing is known
    nodes[:, :, 1:-1] = found.transpose(1, 3, 0, 2)
    local = grown(nodes.reshape(rows, columns, -1)).reshape(height * width, -1, 2)
    position = np.clip((log_depth.ravel() - np.float32(lowest)) / np.float32(step) + 1, 0, len(layers) + 1)
    below = np.minimum(position.astype(np.intp), len(layers))
    share, pixel = (position - below.astype(np.float32))[:, None], np.arange(height * width)
    both = (1 - share) * local[pixel, below] + share * local[pixel, below + 1]
    field, reach = both.T.reshape(2, height, width)
    return slow + field, np.ascontiguousarray(reach)
