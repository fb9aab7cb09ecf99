"""Depth predicted on the fly, as the reference's evaluation does: resize, predict, invert; flip by option."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featdepth_ros.errors import EvaluationError
from featdepth_ros.reporting.datasets import Sample
from featdepth_ros.reporting.depth_evaluation import DepthPair

if TYPE_CHECKING:
    from featdepth_ros.models.base import FeatDepthModel


def flip_blend(disparity: ArrayLike, mirrored: ArrayLike) -> NDArray[np.float64]:
    """Blend the disparity of an image with that of its mirror image (the post-processing of Godard et al., 2017).

    The mean of the two, but at each side's border, 5 to 10 % of the width, the one that is free of the occlusion there.

    Args:
        disparity: (H, W) of the image.
        mirrored: (H, W) of the mirrored image, mirrored back.
    """
    left, right = np.asarray(disparity, dtype=np.float64), np.asarray(mirrored, dtype=np.float64)
    across = np.linspace(0, 1, left.shape[1])
    from_right = 1 - np.clip(20 * (across - 0.05), 0, 1)
    from_left = from_right[::-1]
    return from_left * left + from_right * right + (1 - from_left - from_right) * 0.5 * (left + right)


class DepthPredictor:
    """One model that turns pictures into depth in the networks' unit, at half the input size (no focal compensation).

    Args:
        weights: a file or the name of a model that ships.
        preset: see `load_model`.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
        flip: blend with the mirrored image's prediction.

    Raises:
        FeatDepthError: no such weights or device, or a model without a depth net.
    """

    def __init__(self, weights: str, preset: str | None, device: str, flip: bool) -> None:
        from featdepth_ros import load_model
        from featdepth_ros.device import resolve_device

        self._device = resolve_device(device)
        self._model: FeatDepthModel = load_model(weights, device=self._device, preset=preset)
        if "depth" not in self._model.nets:
            raise EvaluationError(f"the weights '{weights}' hold no depth net; expected weights that predict depth")
        self._flip = flip

    @property
    def metres_per_unit(self) -> float | None:
        """The factor from network units to metres that the weights name; None when their scale is relative."""
        info = self._model.info
        return info.scale_factor if info.scale_kind == "metric" else None

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return (h / 2, w / 2) depth of a (H, W, 3) uint8 RGB picture, h and w being the networks' input size."""
        import torch
        import torch.nn.functional as F

        info = self._model.info
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self._device)
        batch = pixels.permute(2, 0, 1)[None].float() / 255
        # Smoothed like the Lanczos filter the networks were trained behind, which torch lacks.
        batch = F.interpolate(batch, size=info.input_size, mode="bicubic", antialias=True, align_corners=False)
        batch = batch.clamp(0, 1)
        if self._flip:
            batch = torch.cat([batch, batch.flip(3)])
        with torch.inference_mode():
            sigmoid = self._model.depth(batch)[0].float().cpu().numpy()[:, 0].astype(np.float64)
        low, high = 1 / info.max_depth, 1 / info.min_depth
        inverse = low + (high - low) * sigmoid
        result: NDArray[np.float64] = flip_blend(inverse[0], inverse[1, :, ::-1]) if self._flip else inverse[0]
        return 1 / result


def predicted_pairs(samples: Sequence[Sample], predictor: DepthPredictor) -> list[DepthPair]:
    """Return pairs whose predictions are made when they are asked for."""

    def pair(sample: Sample) -> DepthPair:
        return DepthPair(sample.name, lambda: predictor(sample.image()), sample.truth, sample.image)

    return [pair(sample) for sample in samples]


def scale_in_metres(predictor: DepthPredictor, weights: str | Path) -> tuple[float, str]:
    """Return the factor that puts predictions into metres, and a note that says where it comes from."""
    factor = predictor.metres_per_unit
    if factor is None:
        return 1.0, f"the scale of {weights} is relative: without --scale its figures are those of network units"
    return factor, f"{weights} are metric: their own factor of {factor:g} m a unit is applied (--scale none)"
