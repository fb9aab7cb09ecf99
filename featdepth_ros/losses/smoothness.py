"""Edge-aware smoothness of first and second order, for disparities and feature maps (docs/reference.md 3)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from featdepth_ros.geometry.projection import at_least_fp32

TinyMaps = Literal["skip", "nan"]


def differences(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the forward differences of (B, C, H, W) along x and along y, without padding."""
    return values[..., 1:] - values[..., :-1], values[..., 1:, :] - values[..., :-1, :]


class ImageEdges:
    """Mean absolute first and second differences of an image at several sizes, each computed once.

    The image is first resized to the requested size by area averaging. The mixed second difference occurs once, because
    xy and yx are equal.

    Args:
        image: (B, 3, H, W) in [0, 1].
    """

    def __init__(self, image: Tensor) -> None:
        self._image = at_least_fp32(image).detach()
        self._known: dict[tuple[int, int], tuple[Tensor, ...]] = {}

    def at(self, height: int, width: int) -> tuple[Tensor, ...]:
        """Return (|dx|, |dy|, |dxx|, |dxy|, |dyy|) as means over channels, (B, 1, h, w) reduced by the differences."""
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
    """Return the edge-weighted means of absolute first and second differences.

    Args:
        values: (B, C, h, w) disparities or features.
        edges: edges of their image.
        factor: factor in exp(-factor * image difference): 0.5 for disparities, 1 for features.
        tiny_maps: value of the second difference along a side below 3, which has none. ``skip`` is 0; ``nan`` is the
            reference's mean of an empty tensor (docs/reference.md, D20).

    Returns:
        The terms of first (dx + dy) and second (dxx + dxy + dyx + dyy) order, scalars.
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
    """Return disparity (B, 1, h, w) over each image's mean (+ 1e-7), so that smoothness does not shrink the scene."""
    disparity = at_least_fp32(disparity)
    return disparity / (disparity.mean((2, 3), keepdim=True) + 1e-7)
