"""Depth prediction for evaluation, as in the original FeatDepth: resize, predict, invert; flip by option."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featdepth_ros.errors import EvaluationError
from featdepth_ros.reporting.datasets import Sample
from featdepth_ros.reporting.depth_evaluation import DepthPair


def flip_blend(disparity: ArrayLike, mirrored: ArrayLike) -> NDArray[np.float64]:
    """Blend the disparity of an image with that of its mirror image (the post-processing of Godard et al., 2017).

    The result is the mean of the two. At each side, 5 to 10 % of the width, it fades to the one without occlusion.

    Args:
        disparity: (H, W) disparity of the image.
        mirrored: (H, W) disparity of the mirrored image, mirrored back.
    """
    left, right = np.asarray(disparity, dtype=np.float64), np.asarray(mirrored, dtype=np.float64)
    across = np.linspace(0, 1, left.shape[1])
    from_right = 1 - np.clip(20 * (across - 0.05), 0, 1)
    from_left = from_right[::-1]
    return from_left * left + from_right * right + (1 - from_left - from_right) * 0.5 * (left + right)


class DepthPredictor:
    """Predicts depth of images in network units, at half the networks' input size, without focal compensation.

    Args:
        weights: a file or the name of a model that ships.
        preset: see `load_model`.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
        flip: blend with the mirrored image's prediction.
        convention: format of a third-party depth network, see `load_networks`.

    Raises:
        FeatDepthError: the weights or the device do not exist, or the model has no depth network.
    """

    def __init__(self, weights: str, preset: str | None, device: str, flip: bool, convention: str = "") -> None:
        from featdepth_ros.device import resolve_device
        from featdepth_ros.inference.backends.loading import load_networks
        from featdepth_ros.inference.networks import Networks
        from featdepth_ros.models.base import FeatDepthModel

        self._device = resolve_device(device)
        model = load_networks(weights, preset, convention)
        if isinstance(model, FeatDepthModel) and "depth" not in model.nets:
            raise EvaluationError(f"the weights '{weights}' hold no depth network; choose weights that predict depth")
        precision = "fp32" if isinstance(model, FeatDepthModel) else "auto"
        backend = "torch" if isinstance(model, FeatDepthModel) else "auto"
        self._networks = Networks(model, self._device, precision, backend)
        self._flip = flip

    @property
    def metres_per_unit(self) -> float | None:
        """Metres per network unit as stored in the weights; None when their scale is relative."""
        info = self._networks.info
        # Canonical depth becomes metres only with the focal length, which is not read from datasets here.
        canonical = self._networks.is_foreign and info.focal is not None
        return info.scale_factor if info.scale_kind == "metric" and not canonical else None

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the depth of a (H, W, 3) uint8 RGB image: float64, half as many rows and columns as the input."""
        import torch
        import torch.nn.functional as F

        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self._device)
        batch = pixels.permute(2, 0, 1)[None].float() / 255
        size = self._networks.evaluation_size(image.shape[1], image.shape[0])
        # Antialiasing imitates the Lanczos filter of the training, which torch does not have.
        batch = F.interpolate(batch, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
        if self._flip:
            batch = torch.cat([batch, batch.flip(3)])
        inverse = 1.0 / self._networks.depth(batch).cpu().numpy()[:, 0].astype(np.float64)
        result: NDArray[np.float64] = flip_blend(inverse[0], inverse[1, :, ::-1]) if self._flip else inverse[0]
        return 1 / result


def predicted_pairs(samples: Sequence[Sample], predictor: DepthPredictor) -> list[DepthPair]:
    """Return pairs of prediction and ground truth; a prediction is computed when it is read."""

    def pair(sample: Sample) -> DepthPair:
        return DepthPair(sample.name, lambda: predictor(sample.image()), sample.truth, sample.image)

    return [pair(sample) for sample in samples]


def scale_in_metres(predictor: DepthPredictor, weights: str | Path) -> tuple[float, str]:
    """Return the metres per network unit (1.0 for a relative scale), and a note on the origin of this factor."""
    factor = predictor.metres_per_unit
    if factor is None:
        return 1.0, f"the scale of {weights} is relative: without --scale the figures are in network units"
    return factor, f"{weights} are metric: their factor of {factor:g} m per network unit is applied (--scale none)"
