"""Synthetic images and random weights for inference benchmarks, which need neither recordings nor trained weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.build import architectures, build_model
from featdepth_ros.models.checkpoints import load_model

SEED = 0
#: Number of consecutive images, and their shift from image to image, pixels.
_PICTURES, _STEP_PX = 8, 4
#: (height, width) of the images from which the running statistics of BatchNorm are computed.
_SETTLING = (64, 96)


def pictures(size: tuple[int, int], seed: int = 0) -> list[np.ndarray[Any, np.dtype[np.uint8]]]:
    """Return random textures that move sideways, each (H, W, 3) uint8 with (H, W) = ``size``."""
    height, width = size
    generator = torch.Generator().manual_seed(seed)
    texture = torch.zeros(1, 3, height, width + _PICTURES * _STEP_PX)
    for octave in (3, 4, 5, 6):
        noise = torch.rand(1, 3, max(height >> octave, 2), max(texture.shape[-1] >> octave, 2), generator=generator)
        texture += F.interpolate(noise, texture.shape[-2:], mode="bicubic", align_corners=False) / 4
    whole = (texture.clamp(0, 1)[0].permute(1, 2, 0) * 255).to(torch.uint8).numpy()
    return [np.ascontiguousarray(whole[:, i * _STEP_PX : i * _STEP_PX + width]) for i in range(_PICTURES)]


def model_named(name: str, preset: str | None = None) -> FeatDepthModel:
    """Load weights, or build an architecture such as ``mono_fm_r50`` with random weights, which suffice for timing.

    Args:
        name: a file, a shipped model, or one of `architectures` except ``compact``.
        preset: see `load_model`.

    Raises:
        FeatDepthError: the name is neither a file nor known.
    """
    if name == "compact" or name not in architectures():
        return load_model(name, preset=preset)
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        model = build_model(name)
        _settle_norms(model, torch.cat([_as_batch(p) for p in pictures(_SETTLING)[:2]]))
    return model.eval()


def _as_batch(picture: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255


@torch.no_grad()
def _settle_norms(model: FeatDepthModel, images: Tensor) -> None:
    """Compute the running statistics of BatchNorm with random weights, without which activations would diverge."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the cumulative mean over all batches
    model.train()
    model.depth(images)
    model.pose(images[:1].repeat(2, 1, 1, 1), images)
    model.features(images)
