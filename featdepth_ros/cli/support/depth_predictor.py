"""Depth predicted on the fly, as the reference's evaluation does: resize, predict, invert; flip by option."""

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
        convention: of a depth network of others, see `load_networks`.

    Raises:
        FeatDepthError: no such weights or device, or a model without a depth net.
    """

    def __init__(self, weights: str, preset: str | None, device: str, flip: bool, convention: str = "") -> None:
        from featdepth_ros.device import resolve_device
        from featdepth_ros.inference.backends.loading import load_networks
        from featdepth_ros.inference.networks import Networks
        from featdepth_ros.models.base import FeatDepthModel

        self._device = resolve_device(device)
        model = load_networks(weights, preset, convention)
        if isinstance(model, FeatDepthModel) and "depth" not in model.nets:
            raise EvaluationError(f"the weights '{weights}' hold no depth net; expected weights that predict depth")
        precision = "fp32" if isinstance(model, FeatDepthModel) else "auto"
        backend = "torch" if isinstance(model, FeatDepthModel) else "auto"
        self._networks = Networks(model, self._device, precision, backend)
        self._flip = flip

    @property
    def metres_per_unit(self) -> float | None:
        """The factor from network units to metres that the weights name; None when their scale is relative."""
        info = self._networks.info
        # A canonical depth is metres only together with a focal length, which data sets do not name here.
        canonical = self._networks.is_foreign and info.focal is not None
        return info.scale_factor if info.scale_kind == "metric" and not canonical else None

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return depth of a (H, W, 3) uint8 RGB picture; half as many rows and columns as our networks see."""
        import torch
        import torch.nn.functional as F

        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self._device)
        batch = pixels.permute(2, 0, 1)[None].float() / 255
        size = self._networks.evaluation_size(image.shape[1], image.shape[0])
        # Smoothed like the Lanczos filter the networks were trained behind, which torch lacks.
        batch = F.interpolate(batch, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
        if self._flip:
            batch = torch.cat([batch, batch.flip(3)])
        inverse = 1.0 / self._networks.depth(batch).cpu().numpy()[:, 0].astype(np.float64)
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
