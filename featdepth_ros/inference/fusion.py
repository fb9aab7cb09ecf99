"""A network's depth corrected by the points that a window of frames measured. numpy and OpenCV only.

The correction is a smooth field of log depth. Gaussian process regression finds it from the logarithm of measured over
predicted depth at the points (Rasmussen and Williams, 2006, chapter 2). Its prior is a sum of these parts:

- a factor common to the whole frame;
- a field that varies slowly across the image;
- two fields, of short and of middle range, that live on the surfaces of the predicted depth.

The kernels of the last two also fall with the difference of log depth. So what was measured on an object does not bleed
over its edge (the bilateral idea of Tomasi and Manduchi, 1998).

A point's weight is its information from images; it is lower where the prediction has an edge. Points that disagree
with their neighbours lose their weight (Student's t errors, by reweighting). The field falls to zero where nothing was
measured nearby. The common factor applies to the whole frame. Without usable points there is no correction.

Wrong points can agree with each other: on vehicles that move along, or under a rolling shutter that turns quickly.
Three rules keep the depth from following them. First, a point is doubted and loses weight if its correction, relative
to the others, exceeds the usual error of networks. Second, all points lose weight if they predict each other worse
than their variances say (leave one out). Third, a frame with many doubted points, or with too little total weight, is
corrected partly or not at all.
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

#: Prior standard deviations of log depth for the common factor and the slow field. The third value is the range of that
#: field as a share of the image's width. These and the values below were tuned on rendered scenes and on a part of
#: 7-Scenes that is in no published result.
COMMON, SLOW, SLOW_RANGE = 0.3, 0.25, 0.25


@dataclass(frozen=True)
class _OnSurfaces:
    """A field on the surfaces of the predicted depth.

    Attributes:
        deviation: prior standard deviation of log depth.
        reach: range across the image, as a share of its width.
        depth_reach: range in depth, as a difference of log depth.
    """

    deviation: float
    reach: float
    depth_reach: float


LOCAL, MIDDLE = _OnSurfaces(0.17, 0.065, 0.15), _OnSurfaces(0.12, 0.15, 0.3)
#: Additional noise of a measured log ratio, and the share of the prediction's step at the point that is added to it.
#: The step is the difference of the largest and the smallest log depth in the 3x3 neighbourhood.
NOISE, EDGE_NOISE = 0.02, 0.6
#: Factor on the window's variances. They are right on rendered recordings. On real ones, errors are two to three times
#: larger (rolling shutter, lens, moving objects) and correlated between points of one surface.
VARIANCE_FACTOR = 8.0
#: Degrees of freedom of Student's t errors, and number of reweighting rounds.
FREEDOM, ROUNDS = 2.0, 3
#: Deviation from the median log ratio above which a point is doubted; networks err by 0.1 to 0.2 in most scenes. The
#: second value is the power with which its variance then grows, so that many wrong points do not outweigh the prior.
DOUBTED, DOUBT_POWER = 0.42, 7
#: Shares of doubted points up to which a frame is fully trusted, and above which it is not trusted at all. It is at
#: most 0.2 in a static world. It is 0.26 and more among lorries that move along, and under a turning rolling shutter.
FEW_DOUBTED, MANY_DOUBTED = 0.2, 0.32
#: Usual ratio of the median leave-one-out error to its predicted value, above which all variances are increased, and
#: the number of such rounds. It is below 1, because `VARIANCE_FACTOR` is cautious.
USUAL_MISFIT, MISFIT_ROUNDS = 0.4, 2
#: Numbers of fully trusted points below which there is no correction, and above which it is applied in full.
LEAST_TRUST, FULL_TRUST = 10.0, 30.0
#: Least information of a used point (a standard deviation of 0.2). Less is hardly more than the network's own guess. In
#: a turn on the spot hundreds of such points agree, because they all carry one earlier guess.
LEAST_INFORMATION = 25.0
#: Least number of points for a correction, and the largest used number, because the cost is cubic.
LEAST_POINTS, MOST_POINTS = 8, 256
#: Largest local correction of log depth.
LARGEST = 0.7
#: Spacing of the coarse grid's nodes in the image and in log depth, as a share of the kernels' ranges.
_NODE_STEP, _DEPTH_STEP = 0.3, 0.33
#: Largest number of rows that OpenCV's remap supports; tall images with a depth range of six decades would exceed it.
_MOST_ROWS = 32766


class MeasuredPoints(Protocol):
    """Measured points of the window in the newest rectified image.

    Attributes:
        pixels: (N, 2) columns and rows.
        depth: (N,) z-depth, above 0.
        information: (N,) inverse variance of the log depth from images alone, without the network's prior.
    """

    @property
    def pixels(self) -> Floats: ...  # noqa: D102 - see the class
    @property
    def depth(self) -> Floats: ...  # noqa: D102
    @property
    def information(self) -> Floats: ...  # noqa: D102


@dataclass(frozen=True)
class Correction:
    """The correction of a depth map.

    Attributes:
        log_ratio: (h, w) float32 natural logarithm of corrected over given depth, finite.
        reach: (h, w) float32 number of trusted points in reach of each pixel, each weighted from 0 to 1.
        common_log_ratio: the part of ``log_ratio`` that is common to the whole frame.
        confidence: 0 to 1, by the number of points in this frame. It is included in ``log_ratio`` and ``reach``.
        spread: (h, w) float32 mean leave-one-out error of log depth at the points around each pixel. Far from all
            points it is the mean of the frame.
        points: number of used points.
    """

    log_ratio: Image
    reach: Image
    common_log_ratio: float
    confidence: float
    spread: Image
    points: int


@dataclass(frozen=True)
class _Samples:
    """Inputs of the regression.

    Attributes:
        place: (N, 2) column and row, in widths of the image.
        log_depth: (N,) predicted log depth.
        log_ratio: (N,) logarithm of measured over predicted depth.
        variance: (N,) variance of ``log_ratio``.
        aspect: height over width of a pixel of the depth map, because maps at the networks' size are squeezed.
    """

    place: Floats
    log_depth: Floats
    log_ratio: Floats
    variance: Floats
    aspect: float


@dataclass(frozen=True)
class _Regression:
    """Result of the regression.

    Attributes:
        weights: (N,) weights of the kernels, including ``share``.
        trust: (N,) trust in each point, 0 to 1, including ``share``.
        share: share of the correction that the frame's points justify, 0 to 1.
        errors: (N,) leave-one-out errors of the log ratios.
    """

    weights: Floats
    trust: Floats
    share: float
    errors: Floats


def find_correction(depth: Image, points: MeasuredPoints, camera: CameraModel) -> Correction | None:
    """Return the correction of a network's depth by measured points.

    Args:
        depth: (h, w) float32, above 0, in the unit of the points. The correction does not depend on its size.
        points: measured points of the window, in pixels of the rectified image.
        camera: camera of the rectified image, whose size maps the points to ``depth``.

    Returns:
        The correction; None with fewer than `LEAST_POINTS` usable points, or with less total trust than `LEAST_TRUST`.
    """
    log_depth = np.log(depth)
    samples = _samples(log_depth, points, camera)
    if samples is None:
        return None
    regression = _regress(samples)
    if regression.share <= 0:
        return None
    common = COMMON**2 * float(regression.weights.sum())
    field, reach, spread = _fields(log_depth, samples, regression)
    log_ratio = np.float32(common) + np.clip(field, -LARGEST, LARGEST)
    return Correction(log_ratio, reach, common, regression.share, spread, len(samples.log_ratio))


def _samples(log_depth: Image, points: MeasuredPoints, camera: CameraModel) -> _Samples | None:
    """Select the usable points and sample the prediction there; None if there are too few."""
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
    """Return indices of `MOST_POINTS` points: the best of every cell first, then the second best, and so on."""
    cell = np.floor(pixels / (LOCAL.reach * width)).astype(np.int64) @ np.array([1, 1 << 20])
    order = np.lexsort((-information, cell))
    _, first, counts = np.unique(cell[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(first, counts)
    chosen: NDArray[np.intp] = order[np.lexsort((-information[order], rank))[:MOST_POINTS]]
    return chosen


def _look_up(values: Image, pixels: Floats) -> Floats:
    """Return the bilinear values of a map at (N, 2) pixels."""
    x, y = pixels.astype(np.float32).T
    sampled = cv2.remap(values, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled[0], dtype=np.float64)


def _gaussian(distance: Floats, reach: float) -> Floats:
    # Subnormal numbers are ten times as slow, so the exponent is limited; products of three then do not underflow.
    return np.exp(np.maximum(-0.5 * np.square(distance / reach), -25.0))


def _kernel(samples: _Samples) -> Floats:
    """Return the (N, N) prior covariance of the correction at the points."""
    place, log_depth = samples.place.astype(np.float32), samples.log_depth.astype(np.float32)
    squared = np.square(place[:, None, 0] - place[:, 0]) + np.square(place[:, None, 1] - place[:, 1])
    bend = np.square(log_depth[:, None] - log_depth)
    total = SLOW**2 * np.exp(squared * np.float32(-0.5 / SLOW_RANGE**2)) + COMMON**2
    for field in (LOCAL, MIDDLE):
        near = squared * np.float32(-0.5 / field.reach**2) + bend * np.float32(-0.5 / field.depth_reach**2)
        total += field.deviation**2 * np.exp(np.maximum(near, np.float32(-25)))
    return np.asarray(total, dtype=np.float64)


def _with_noise(kernel: Floats, variance: Floats) -> Floats:
    """Return the (N, N) covariance of the measurements: the prior's covariance plus (N,) noise on the diagonal."""
    covariance = kernel.copy()
    covariance.flat[:: len(kernel) + 1] += variance
    return covariance


def _solved(kernel: Floats, variance: Floats, ratio: Floats) -> Floats:
    """Return ``inv(K + V) y``, (N,), by Cholesky, which takes a third of the time of NumPy's general solver."""
    return np.asarray(cv2.solve(_with_noise(kernel, variance), ratio, flags=cv2.DECOMP_CHOLESKY)[1][:, 0])


def _left_out(kernel: Floats, variance: Floats, noise: Floats, weights: Floats) -> tuple[Floats, float]:
    """Return the leave-one-out errors of the points (Rasmussen and Williams, equation 5.12).

    Args:
        kernel: (N, N) prior covariance.
        variance: (N,) variance in the regression.
        noise: (N,) own noise of each point, in full.
        weights: (N,) weights of the regression.

    Returns:
        (N,) errors, and the ratio of the median error to the predicted one; 1 if the variances are right.
    """
    # Single precision halves the time; the diagonal is accurate to a thousandth.
    whole = _with_noise(kernel, variance).astype(np.float32)
    diagonal = np.diag(cv2.invert(whole, flags=cv2.DECOMP_CHOLESKY)[1]).astype(np.float64)
    errors = np.abs(weights / diagonal)
    stated = np.maximum(1 / diagonal - variance, 0) + noise
    return np.asarray(errors), float(np.median(errors / np.sqrt(stated))) / 0.6745


def _regress(samples: _Samples) -> _Regression:
    """Return the regression with the weights ``inv(K + V) y``; V is the variance over the Student's t weight."""
    kernel, ratio = _kernel(samples), samples.log_ratio
    doubt = np.abs(ratio - np.median(ratio)) / DOUBTED
    variance = samples.variance * np.maximum(1, doubt) ** DOUBT_POWER
    agreement = np.ones(len(ratio))
    for _ in range(ROUNDS - 1):
        weights = _solved(kernel, variance / agreement, ratio)
        agreement = (FREEDOM + 1) / (FREEDOM + np.square(ratio - kernel @ weights) / variance)
    weights = _solved(kernel, variance / agreement, ratio)
    errors, misfit = _left_out(kernel, variance / agreement, variance, weights)
    for again in range(MISFIT_ROUNDS):
        if misfit <= USUAL_MISFIT:
            break
        variance = variance * (misfit / USUAL_MISFIT) ** 2
        weights = _solved(kernel, variance / agreement, ratio)
        if again + 1 < MISFIT_ROUNDS:
            misfit = _left_out(kernel, variance / agreement, variance, weights)[1]
    trust = 1 / (1 + variance / ((LOCAL.deviation**2 + MIDDLE.deviation**2) * np.minimum(agreement, 1)))
    share = float(np.clip((trust.sum() - LEAST_TRUST) / (FULL_TRUST - LEAST_TRUST), 0, 1))
    share *= float(np.clip((MANY_DOUBTED - np.mean(doubt > 1)) / (MANY_DOUBTED - FEW_DOUBTED), 0, 1))
    return _Regression(np.asarray(share * weights), np.asarray(share * trust), share, errors)


class _Grid:
    """A coarse grid over a depth map, on which separable kernels are summed and then interpolated.

    Args:
        size: (height, width) of the map.
        samples: the points.
        reach: range of the kernel, as a share of the image's width.

    Attributes:
        down: (rows, N) kernel between each row of nodes and each point.
        across: (columns, N) kernel between each column of nodes and each point.
        row, column: (h, w) float32 grid coordinates of the map's pixels.
    """

    def __init__(self, size: tuple[int, int], samples: _Samples, reach: float) -> None:
        height, width = size
        node = _NODE_STEP * reach
        rows, columns = max(2, round(height / width * samples.aspect / node)), max(2, round(1 / node))
        x = ((np.arange(columns) + 0.5) / columns * width - 0.5) / width
        y = ((np.arange(rows) + 0.5) / rows * height - 0.5) / width * samples.aspect
        self.down = _gaussian(y[:, None] - samples.place[:, 1], reach)
        self.across = _gaussian(x[:, None] - samples.place[:, 0], reach)
        column = np.clip((np.arange(width) + 0.5) * columns / width - 0.5, 0, columns - 1)
        row = np.clip((np.arange(height) + 0.5) * rows / height - 0.5, 0, rows - 1)
        self.column, self.row = np.meshgrid(column.astype(np.float32), row.astype(np.float32))


def _fields(log_depth: Image, samples: _Samples, regression: _Regression) -> tuple[Image, Image, Image]:
    """Return the correction of log depth without the common factor, the trusted points in reach, and the spread."""
    size = (log_depth.shape[0], log_depth.shape[1])
    weights, errors = regression.weights, np.minimum(regression.errors, 1)
    grid = _Grid(size, samples, SLOW_RANGE)
    nodes = (SLOW**2 * (grid.down * weights) @ grid.across.T).astype(np.float32)
    slow = cv2.resize(nodes, size[::-1], interpolation=cv2.INTER_LINEAR)
    around = np.stack([MIDDLE.deviation**2 * weights, errors, np.ones_like(errors)])
    middle = _on_surfaces(log_depth, samples, MIDDLE, around)
    local = _on_surfaces(log_depth, samples, LOCAL, np.stack([LOCAL.deviation**2 * weights, regression.trust]))
    # The frame's mean counts as one more point everywhere.
    spread = (middle[..., 1] + np.float32(errors.mean())) / (middle[..., 2] + 1)
    return np.asarray(slow + middle[..., 0] + local[..., 0]), np.asarray(local[..., 1]), np.asarray(spread)


def _on_surfaces(log_depth: Image, samples: _Samples, field: _OnSurfaces, amounts: Floats) -> Image:
    """Return the sum of a kernel on surfaces over the points, weighted with (C, N) amounts: (h, w, C), C at least 1.

    The kernel is separable, so it is summed at layers of log depth over a coarse grid. The layers are stacked
    vertically in one image. Values between two layers are interpolated.
    """
    grid = _Grid((log_depth.shape[0], log_depth.shape[1]), samples, field.reach)
    step, margin = _DEPTH_STEP * field.depth_reach, 3 * field.depth_reach
    rows, count = grid.down.shape
    lowest = float(samples.log_depth.min()) - margin
    span = float(samples.log_depth.max()) + margin - lowest
    layers = min(int(np.ceil(span / step)) + 1, _MOST_ROWS // rows)
    step = max(step, span / (layers - 1))
    near = _gaussian(samples.log_depth - (lowest + step * np.arange(layers))[:, None], field.depth_reach)
    at = (near.astype(np.float32)[:, None] * grid.down.astype(np.float32)).reshape(layers * rows, count)
    columns = np.concatenate([amount[:, None] * grid.across.T for amount in amounts], axis=1).astype(np.float32)
    nodes = np.ascontiguousarray((at @ columns).reshape(layers * rows, len(amounts), -1).transpose(0, 2, 1))
    position = np.clip((log_depth - np.float32(lowest)) / np.float32(step), 0, np.float32(layers - 1))
    layer = np.minimum(np.floor(position), np.float32(layers - 2))
    upper, lower = (
        cv2.remap(nodes, grid.column, grid.row + (layer + np.float32(more)) * np.float32(rows), cv2.INTER_LINEAR)
        for more in (0, 1)
    )
    share = (position - layer)[..., None]
    shape = (*log_depth.shape, len(amounts))
    return np.asarray((1 - share) * upper.reshape(shape) + share * lower.reshape(shape))
