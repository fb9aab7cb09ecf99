"""Evaluation of depth by Eigen et al. (2014), as in the reference (docs/reference.md 6). numpy only.

Metrics are computed for every image; those of a set are means over its images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featdepth_ros.errors import EvaluationError
from featdepth_ros.metrics.uncertainty import SIGMA_METRICS, sigma_figures

CropName = Literal["none", "garg", "eigen", "nyu"]
ScaleRule = Literal["none", "median"]

#: (top, bottom, left, right) of each crop as fractions of height and width. The crops of Garg et al. (2016) and Eigen
#: et al. (2014) are those for KITTI; the NYU crop is Eigen's 45:471, 41:601 of a 480x640 image.
CROPS: dict[str, tuple[float, float, float, float]] = {
    "none": (0.0, 1.0, 0.0, 1.0),
    "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),
    "eigen": (0.3324324, 0.91351351, 0.0359477, 0.96405229),
    "nyu": (45 / 480, 471 / 480, 41 / 640, 601 / 640),
}

#: Metrics that are averaged over images, in the usual order.
DEPTH_METRICS = ("abs_rel", "sq_rel", "rmse", "rmse_log", "a1", "a2", "a3")

# Least depth in a resize, so that neighbours of a value at or below zero stay finite. The clamp to the protocol's
# minimum follows in any case.
_SMALLEST_DEPTH = 1e-6


@dataclass(frozen=True)
class DepthProtocol:
    """Settings of the comparison.

    Attributes:
        min_depth, max_depth: limits in metres. Ground truth strictly between them is used; predictions are clamped.
        crop: name of a crop in `CROPS`.
        scale: ``none``, ``median`` (per image: median truth over median prediction), or a factor on predictions.
        skip_invalid: exclude and count non-finite predictions; otherwise they are an error.
    """

    min_depth: float = 1e-3
    max_depth: float = 80.0
    crop: CropName = "none"
    scale: ScaleRule | float = "none"
    skip_invalid: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.min_depth) and 0 < self.min_depth < self.max_depth):
            raise EvaluationError(
                f"depth limits are {self.min_depth:g} to {self.max_depth:g} m; expected 0 < minimum < maximum"
            )
        if self.crop not in CROPS:
            raise EvaluationError(f"crop '{self.crop}' is not known; expected one of {', '.join(CROPS)}")
        if isinstance(self.scale, str):
            if self.scale not in ("none", "median"):
                raise EvaluationError(f"scale '{self.scale}' is not known; expected none, median or a factor")
        elif not (math.isfinite(self.scale) and self.scale > 0):
            raise EvaluationError(f"scale is {self.scale}; expected none, median or a factor above 0")


@dataclass(frozen=True)
class ImageErrors:
    """Metrics of one image.

    Attributes:
        name: name of the image.
        abs_rel, sq_rel, rmse, rmse_log, a1, a2, a3: see `depth_errors`.
        scale: median truth over median prediction, independent of the applied scale; None if the median prediction is
            not above 0.
        pixels: number of compared pixels.
        skipped: number of excluded pixels, because they were not finite.
        within_1_sigma, within_2_sigma, ause: see `sigma_figures`; None without a sigma.
    """

    name: str
    abs_rel: float
    sq_rel: float
    rmse: float
    rmse_log: float
    a1: float
    a2: float
    a3: float
    scale: float | None
    pixels: int
    skipped: int
    within_1_sigma: float | None = None
    within_2_sigma: float | None = None
    ause: float | None = None


@dataclass(frozen=True)
class DepthSummary:
    """Means over the images of a set.

    Attributes:
        abs_rel, sq_rel, rmse, rmse_log, a1, a2, a3: means of the images' metrics (rmse and sq_rel in metres).
        scale_median: median over images of median truth / median prediction; None if no image has this ratio.
        scale_std: standard deviation of these ratios divided by their median.
        frames, pixels: numbers of compared images and pixels.
        within_1_sigma, within_2_sigma, ause: means of the images' metrics; None unless every image has a sigma.
    """

    abs_rel: float
    sq_rel: float
    rmse: float
    rmse_log: float
    a1: float
    a2: float
    a3: float
    scale_median: float | None
    scale_std: float | None
    frames: int
    pixels: int
    within_1_sigma: float | None = None
    within_2_sigma: float | None = None
    ause: float | None = None


def crop_mask(shape: tuple[int, int], crop: CropName) -> NDArray[np.bool_]:
    """Return the (H, W) mask of a crop; its borders are truncated to whole pixels (docs/reference.md 6)."""
    height, width = shape
    top, bottom, left, right = CROPS[crop]
    mask = np.zeros((height, width), dtype=np.bool_)
    if crop == "nyu":  # rounding must not remove a pixel at 480x640
        rows, columns = round(top * height), round(left * width)
        mask[rows : round(bottom * height), columns : round(right * width)] = True
    else:
        mask[int(top * height) : int(bottom * height), int(left * width) : int(right * width)] = True
    return mask


def _axis_weights(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Return indices and weight of the two neighbours along one axis; pixel centres at integers, repeated border."""
    centres = np.clip((np.arange(target) + 0.5) * (source / target) - 0.5, 0, source - 1)
    low = np.floor(centres).astype(np.intp)
    high = np.minimum(low + 1, source - 1)
    return low, high, centres - low


def resize_inverse_depth(depth: ArrayLike, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Resize a depth map bilinearly in inverse depth, without smoothing (as ``cv2.resize`` for disparities).

    Args:
        depth: (h, w), any unit. Every pixel that is interpolated from a non-finite value is NaN.
        shape: (H, W) of the result.

    Returns:
        (H, W) float64; the input's values if the size is already right.
    """
    values = np.asarray(depth, dtype=np.float64)
    if values.shape == shape:
        return values
    inverse = np.where(np.isfinite(values), 1.0 / np.maximum(values, _SMALLEST_DEPTH), np.nan)
    return 1.0 / _resize_bilinear(inverse, shape)


def resize_sigma(sigma: ArrayLike, depth: ArrayLike, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Resize the standard deviation of a depth map that `resize_inverse_depth` resizes.

    It interpolates the standard deviation of inverse depth, ``sigma / depth**2``, assuming that the errors of
    neighbours are correlated.

    Args:
        sigma: (h, w), any unit. Every pixel that is interpolated from a non-finite value is NaN.
        depth: (h, w), same unit.
        shape: (H, W) of the result.

    Returns:
        (H, W) float64; the input's values if the size is already right.

    Raises:
        EvaluationError: the shapes differ.
    """
    std, values = np.asarray(sigma, dtype=np.float64), np.asarray(depth, dtype=np.float64)
    if std.shape != values.shape:
        raise EvaluationError(f"sigma has shape {std.shape}, its depth {values.shape}; expected the same")
    if values.shape == shape:
        return std
    known = np.isfinite(values) & np.isfinite(std)
    of_inverse = np.where(known, std / np.maximum(values, _SMALLEST_DEPTH) ** 2, np.nan)
    return _resize_bilinear(of_inverse, shape) * resize_inverse_depth(values, shape) ** 2


def _resize_bilinear(values: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    low, high, weight = _axis_weights(values.shape[0], shape[0])
    rows = values[low] * (1 - weight)[:, None] + values[high] * weight[:, None]
    low, high, weight = _axis_weights(values.shape[1], shape[1])
    resized: NDArray[np.float64] = rows[:, low] * (1 - weight) + rows[:, high] * weight
    return resized


def depth_errors(truth: ArrayLike, prediction: ArrayLike) -> dict[str, float]:
    """Return the seven metrics of Eigen et al. for matching pixels, with natural logarithms.

    Args:
        truth: (N,) metres, above 0.
        prediction: (N,) metres, above 0.

    Raises:
        EvaluationError: there is no pixel, the lengths differ, or a value is not finite and above 0.
    """
    gt, pred = np.asarray(truth, dtype=np.float64).ravel(), np.asarray(prediction, dtype=np.float64).ravel()
    if gt.size != pred.size or gt.size == 0:
        raise EvaluationError(f"{gt.size} true and {pred.size} predicted depths; expected the same number, at least 1")
    for what, values in (("true", gt), ("predicted", pred)):
        if not (np.isfinite(values) & (values > 0)).all():
            raise EvaluationError(f"{what} depths hold values that are not finite and above 0; mask and clamp them")
    ratio = np.maximum(gt / pred, pred / gt)
    difference = gt - pred
    return {
        "abs_rel": float(np.mean(np.abs(difference) / gt)),
        "sq_rel": float(np.mean(difference**2 / gt)),
        "rmse": float(np.sqrt(np.mean(difference**2))),
        "rmse_log": float(np.sqrt(np.mean((np.log(gt) - np.log(pred)) ** 2))),
        "a1": float(np.mean(ratio < 1.25)),
        "a2": float(np.mean(ratio < 1.25**2)),
        "a3": float(np.mean(ratio < 1.25**3)),
    }


def valid_pixels(truth: ArrayLike, protocol: DepthProtocol) -> NDArray[np.bool_]:
    """Return the (H, W) mask of pixels with used ground truth: inside the crop, strictly between the limits."""
    gt = np.asarray(truth)
    if gt.ndim != 2:
        raise EvaluationError(f"the true depth has shape {gt.shape}; expected (height, width)")
    with np.errstate(invalid="ignore"):
        inside = (gt > protocol.min_depth) & (gt < protocol.max_depth)
    return inside & crop_mask((gt.shape[0], gt.shape[1]), protocol.crop)


def scaled_prediction(
    prediction: ArrayLike, truth: ArrayLike, protocol: DepthProtocol
) -> tuple[NDArray[np.float64], NDArray[np.bool_], float | None, float]:
    """Convert a prediction to the ground truth's size and unit, without clamping.

    Args:
        prediction: (h, w) depth.
        truth: (H, W) metres; 0 or non-finite if unknown.
        protocol: limits, crop and scale.

    Returns:
        The (H, W) scaled prediction, the (H, W) mask of compared pixels, the ratio of medians (None if undefined), and
        the applied factor. Compared pixels have ground truth and a finite prediction.

    Raises:
        EvaluationError: the prediction is not a map, or median scaling is requested but undefined.
    """
    gt = np.asarray(truth)
    mask = valid_pixels(gt, protocol)
    pred = np.asarray(prediction, dtype=np.float64)
    if pred.ndim != 2 or pred.size == 0:
        raise EvaluationError(f"the prediction has shape {pred.shape}; expected (height, width)")
    pred = resize_inverse_depth(pred, (gt.shape[0], gt.shape[1]))
    mask = mask & np.isfinite(pred)
    ratio: float | None = None
    if mask.any():
        median = float(np.median(pred[mask]))
        ratio = float(np.median(gt[mask])) / median if median > 0 else None
    if protocol.scale == "median":
        if ratio is None and mask.any():
            raise EvaluationError("the median prediction is not above 0; median scaling is undefined, use scale none")
        factor = ratio or 1.0
    else:
        factor = 1.0 if isinstance(protocol.scale, str) else float(protocol.scale)
    return pred * factor, mask, ratio, factor


def evaluate_image(
    prediction: ArrayLike,
    truth: ArrayLike,
    protocol: DepthProtocol,
    name: str = "image",
    sigma: ArrayLike | None = None,
) -> ImageErrors | None:
    """Evaluate one prediction; return None if there is no pixel to compare.

    Args:
        prediction: (h, w) depth; it is resized to the ground truth's size by `resize_inverse_depth`.
        truth: (H, W) metres; 0 and non-finite values are unknown.
        protocol: limits, crop, scale.
        name: name of the image in messages.
        sigma: (h, w) standard deviation of the prediction, in its unit. It has the same mask and the same factor as the
            prediction, and is not clamped.

    Raises:
        EvaluationError: a prediction or standard deviation with known ground truth is not finite, and ``skip_invalid``
            is off; or a standard deviation is below 0.
    """
    std = None
    try:
        pred, mask, ratio, factor = scaled_prediction(prediction, truth, protocol)
        if sigma is not None:
            std = factor * resize_sigma(sigma, prediction, (pred.shape[0], pred.shape[1]))
            mask = mask & np.isfinite(std)
    except EvaluationError as error:
        raise EvaluationError(f"{name}: {error}") from error
    skipped = int(valid_pixels(truth, protocol).sum() - mask.sum())
    if skipped and not protocol.skip_invalid:
        raise EvaluationError(
            f"{name}: {skipped} predictions{' or their sigma' if sigma is not None else ''} are not finite where truth "
            "is known; correct them, or exclude them with --skip-invalid"
        )
    if not mask.any():
        return None
    clamped, gt = np.clip(pred[mask], protocol.min_depth, protocol.max_depth), np.asarray(truth)[mask]
    figures = depth_errors(gt, clamped)
    if std is not None:
        try:
            figures |= sigma_figures(gt, clamped, std[mask])
        except EvaluationError as error:
            raise EvaluationError(f"{name}: {error}") from error
    return ImageErrors(name=name, scale=ratio, pixels=int(mask.sum()), skipped=skipped, **figures)


def summarise_depth(images: Sequence[ImageErrors]) -> DepthSummary:
    """Return the mean metrics of a set's images.

    Raises:
        EvaluationError: there is no image.
    """
    if not images:
        raise EvaluationError("no image has a pixel to compare: truth is empty, or outside the crop and depth limits")
    means = {key: float(np.mean([getattr(image, key) for image in images])) for key in DEPTH_METRICS}
    ratios = np.array([image.scale for image in images if image.scale is not None])
    median = float(np.median(ratios)) if ratios.size else None
    if all(image.ause is not None for image in images):
        means |= {key: float(np.mean([getattr(image, key) for image in images])) for key in SIGMA_METRICS}
    return DepthSummary(
        **means,
        scale_median=median,
        scale_std=float(np.std(ratios / median)) if median else None,
        frames=len(images),
        pixels=sum(image.pixels for image in images),
    )
