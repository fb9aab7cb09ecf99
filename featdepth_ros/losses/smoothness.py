"""First and second order edge-aware smoothness, of disparities and of feature maps (docs/reference.md 3)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from featdepth_ros.geometry.projection import at_least_fp32

TinyMaps = Literal["skip", "nan"]


def differences(values: Tensor) -> tuple[Tensor, Tensor]:
    """Forward differences along x and along y of (B, C, H, W), valid positions only."""
    return values[..., 1:] - values[..., :-1], values[..., 1:, :] - values[..., :-1, :]


class ImageEdges:
    """Mean absolute first and second differences of an image, at every size asked for, each computed once.

    The image is area-resized to the asked size first. The mixed second difference appears once: xy and yx are the same
    numbers.

    Args:
        image: (B, 3, H, W) in [0, 1].
    """

    def __init__(self, image: Tensor) -> None:
        self._image = at_least_fp32(image).detach()
        self._known: dict[tuple[int, int], tuple[Tensor, ...]] = {}

    def at(self, height: int, width: int) -> tuple[Tensor, ...]:
        """(|dx|, |dy|, |dxx|, |dxy|, |dyy|), each mean over channels: (B, 1, h, w) less what a difference lacks."""
        size = (height, width)
        if size not in self._known:
            image = self._image
            resized = image if image.shape[-2:] == size else functional.interpolate(image, size, mode="area")
            dx, dy = differences(resized)
            dxx, dxy = differences(dx)
            _, dyy = differences(dy)
            self._known[size] = tuple(d.abs().mean(1, keepdim=True) for d in (dx, dy, dxx, dxy, dyy))
        return self._known[size]


def smoothness(values: Tensor, edges: ImageEdges, factor: float, tiny_maps: TinyMaps = "skip") -> tuple[Tensor, Tensor]:
    """Edge-weighted mean absolute first and second differences.

    Args:
        values: (B, C, h, w) disparities or features.
        edges: of the image they belong to.
        factor: in exp(-factor * image difference): 0.5 for disparities, 1 for features.
        tiny_maps: maps with a side below 3 have no second difference along it. ``skip`` counts it as 0; ``nan`` is the
            reference's mean of nothing (docs/reference.md, D20).

    Returns:
        first (dx + dy) and second (dxx + dxy + dyx + dyy) order terms, scalars.
    """
    values = at_least_fp32(values)
    dx, dy = differences(values)
    dxx, dxy = differences(dx)
    _, dyy = differences(dy)
    own = (dx, dy, dxx, dxy, dyy)
    x, y, xx, xy, yy = (
        _weighted_mean(d, edge, factor, tiny_maps) for d, edge in zip(own, edges.at(*values.shape[-2:]), strict=True)
    )
    return x + y, xx + 2 * xy + yy


def _weighted_mean(difference: Tensor, edge: Tensor, factor: float, tiny_maps: TinyMaps) -> Tensor:
    if difference.numel() == 0 and tiny_maps == "skip":
        return difference.sum()
    return (difference.abs() * torch.exp(-factor * edge)).mean()


def normalised_by_mean(disparity: Tensor) -> Tensor:
    """Disparity (B, 1, h, w) over its mean of each image (+ 1e-7): smoothness then does not shrink the scene."""
    disparity = at_least_fp32(disparity)
    return disparity / (disparity.mean((2, 3), keepdim=True) + 1e-7)
