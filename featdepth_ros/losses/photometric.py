"""How unlike two images are: SSIM and Charbonnier (Shu et al. 2020, section 3; spec section 3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from featdepth_ros.geometry.projection import at_least_fp32

SSIM_C1 = 0.01**2
SSIM_C2 = 0.03**2
SSIM_SHARE = 0.85
CHARBONNIER_EPSILON = 1e-3


def charbonnier(prediction: Tensor, target: Tensor) -> Tensor:
    """sqrt(difference^2 + 1e-6), elementwise: an absolute difference, smooth at zero and at least 1e-3."""
    difference = at_least_fp32(target) - at_least_fp32(prediction)
    return torch.sqrt(difference * difference + CHARBONNIER_EPSILON**2)


def _box(values: Tensor) -> Tensor:
    return functional.avg_pool2d(values, 3, 1)


class TargetImage:
    """A target with its SSIM statistics, computed once however many images are compared with it.

    Args:
        image: (B, C, H, W) in [0, 1], both sides at least 2; fp32 or better is used.
    """

    def __init__(self, image: Tensor) -> None:
        self.image = at_least_fp32(image)
        self._padded = functional.pad(self.image, (1, 1, 1, 1), mode="reflect")
        self._mean = _box(self._padded)
        self._variance = _box(self._padded * self._padded) - self._mean * self._mean

    def dissimilarity(self, prediction: Tensor) -> Tensor:
        """(1 - SSIM) / 2 of (N, C, H, W), N = B or k B, clamped to [0, 1]; 3x3 windows, reflected border."""
        padded = functional.pad(at_least_fp32(prediction), (1, 1, 1, 1), mode="reflect")
        own, mean_y, variance_y = (self._repeat(t, padded) for t in (self._padded, self._mean, self._variance))
        mean_x = _box(padded)
        variance_x = _box(padded * padded) - mean_x * mean_x
        covariance = _box(padded * own) - mean_x * mean_y
        numerator = (2 * mean_x * mean_y + SSIM_C1) * (2 * covariance + SSIM_C2)
        denominator = (mean_x * mean_x + mean_y * mean_y + SSIM_C1) * (variance_x + variance_y + SSIM_C2)
        return torch.clamp((1 - numerator / denominator) / 2, 0, 1)

    def photometric(self, prediction: Tensor) -> Tensor:
        """0.85 SSIM loss + 0.15 Charbonnier, mean over channels.

        Args:
            prediction: (N, C, H, W); N is B, or k B for k images of each target, the k-th B in the k-th block.

        Returns:
            (N, 1, H, W), fp32 or better.
        """
        target = self._repeat(self.image, prediction)
        structure = self.dissimilarity(prediction).mean(1, keepdim=True)
        return SSIM_SHARE * structure + (1 - SSIM_SHARE) * charbonnier(prediction, target).mean(1, keepdim=True)

    @staticmethod
    def _repeat(values: Tensor, like: Tensor) -> Tensor:
        copies = like.shape[0] // values.shape[0]
        return values if copies == 1 else values.repeat(copies, 1, 1, 1)


def photometric(prediction: Tensor, target: Tensor) -> Tensor:
    """`TargetImage.photometric` of one pair, both (B, C, H, W); returns (B, 1, H, W)."""
    return TargetImage(target).photometric(prediction)


def feature_metric(target: Tensor, warped: Tensor) -> Tensor:
    """Charbonnier difference of feature maps (B, C, h, w), mean over channels: (B, 1, h, w)."""
    return charbonnier(warped, target).mean(1, keepdim=True)
