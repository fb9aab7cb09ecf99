"""Differences of images and feature maps: SSIM and Charbonnier (docs/reference.md 3)."""

from __future__ import annotations

from torch import Tensor

from featdepth_ros.geometry.projection import at_least_fp32
from featdepth_ros.geometry.warp import Convention, sample_grid
from featdepth_ros.losses.analytic_gradients import (
    CharbonnierMean,
    PhotometricDifference,
    SampledCharbonnierMean,
    box,
    reflected,
)


class TargetImage:
    """A target image with its SSIM statistics, which are computed once for all comparisons.

    Args:
        image: (B, C, H, W) in [0, 1], both sides at least 2; it is used in fp32 or fp64, without gradients.
    """

    def __init__(self, image: Tensor) -> None:
        self.image = at_least_fp32(image).detach()
        self._reflected = reflected(self.image)
        self._mean = box(self._reflected)
        self._variance = box(self._reflected * self._reflected).addcmul_(self._mean, self._mean, value=-1)

    def photometric(self, prediction: Tensor) -> Tensor:
        """Return 0.85 (1 - SSIM) / 2, clamped to [0, 1], + 0.15 Charbonnier, as mean over channels.

        SSIM uses 3x3 windows with a reflected border; Charbonnier is sqrt(difference^2 + 1e-6).

        Args:
            prediction: (N, C, H, W); N is B, or k B for k images of each target, in blocks of B.

        Returns:
            (N, 1, H, W), fp32 or fp64.
        """
        result: Tensor = PhotometricDifference.apply(  # type: ignore[no-untyped-call]
            at_least_fp32(prediction), self.image, self._reflected, self._mean, self._variance
        )
        return result


def photometric(prediction: Tensor, target: Tensor) -> Tensor:
    """Return `TargetImage.photometric` of one pair, both (B, C, H, W), as (B, 1, H, W)."""
    return TargetImage(target).photometric(prediction)


def feature_metric(target: Tensor, warped: Tensor) -> Tensor:
    """Return the Charbonnier difference of feature maps (B, C, h, w), its mean over channels (B, 1, h, w)."""
    result: Tensor = CharbonnierMean.apply(at_least_fp32(target), at_least_fp32(warped))  # type: ignore[no-untyped-call]
    return result


def sampled_feature_metric(target: Tensor, source: Tensor, grid: Tensor, convention: Convention) -> Tensor:
    """Return `feature_metric` of a target map and a source map that is sampled at a grid.

    Args:
        target: (B, C, h, w), fp32 or fp64.
        source: (B, C, H, W).
        grid: (B, h, w, 2) grid of `geometry.warp.sampling_grid`.
        convention: sampling convention of the grid.

    Returns:
        (B, 1, h, w).
    """
    if target.requires_grad or source.requires_grad:
        return feature_metric(target, sample_grid(source, grid, convention))
    result: Tensor = SampledCharbonnierMean.apply(target, source, grid, convention == "reference_true")  # type: ignore[no-untyped-call]
    return result
