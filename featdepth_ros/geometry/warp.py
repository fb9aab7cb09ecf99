"""Sampling of images at subpixel positions. Only this module uses sampling grids and ``align_corners``.

Pixel centres lie at integers. There are three conventions:

``exact``
    Pixel coordinates are exact. An identity motion does not change an image at any scale. Intrinsics of a resized image
    follow its pixel centres: ``cx' = (cx + 0.5) s - 0.5``.
``reference_true``
    The original under torch 1.1, its authors' version, in which ``align_corners=True`` is the default. Coordinates are
    divided by size - 1, with aligned corners. Intrinsics are scaled without the half pixel, and 1e-7 is added to z.
``reference_mixed``
    The original since torch 1.3 (docs/reference.md, D7). Coordinates are divided by size - 1 but sampled with
    ``align_corners=False``. An identity warp stretches the image about its centre by up to half a pixel.

The reference conventions reproduce published weights and numbers; new work uses ``exact``.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from featdepth_ros.errors import ConfigError, nearest_name
from featdepth_ros.geometry.projection import at_least_fp32, autocast_off, backproject, intrinsics_3x3, project

Convention = Literal["exact", "reference_mixed", "reference_true"]

#: Value that the reference adds to z before the division.
REFERENCE_EPSILON = 1e-7


def check_convention(convention: str) -> None:
    """Check the name of a convention.

    Raises:
        ConfigError: the convention is unknown; the message names the most similar one.
    """
    if convention not in get_args(Convention):
        hint = nearest_name(convention, get_args(Convention))
        raise ConfigError(f"sampling convention '{convention}' is not known{hint}")


def grid_from_pixels(pixels: Tensor, width: int, height: int, convention: Convention = "exact") -> Tensor:
    """Return the grid for `sample_grid` from pixel coordinates (..., 2) of a ``width`` x ``height`` image."""
    x, y = pixels.unbind(-1)
    if convention == "exact":
        return torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    return torch.stack([(x / (width - 1) - 0.5) * 2, (y / (height - 1) - 0.5) * 2], -1)


def sample_grid(
    image: Tensor,
    grid: Tensor,
    convention: Convention = "exact",
    mode: str = "bilinear",
    outside: Literal["border", "zeros"] = "border",
) -> Tensor:
    """Sample (B, C, H, W) at a grid (B, h, w, 2) of the same convention; outside, the border is repeated, or zero."""
    return functional.grid_sample(
        image, grid, mode=mode, padding_mode=outside, align_corners=convention == "reference_true"
    )


def sample_pixels(
    image: Tensor,
    pixels: Tensor,
    convention: Convention = "exact",
    mode: str = "bilinear",
    outside: Literal["border", "zeros"] = "border",
) -> Tensor:
    """Sample (B, C, H, W) at pixel coordinates (B, h, w, 2), x then y; returns (B, C, h, w)."""
    height, width = image.shape[-2:]
    return sample_grid(image, grid_from_pixels(pixels, width, height, convention), convention, mode, outside)


def resize_bilinear(values: Tensor, height: int, width: int) -> Tensor:
    """Resize (B, C, H, W) bilinearly with aligned pixel centres (half-pixel rule), without anti-aliasing."""
    if values.shape[-2:] == (height, width):
        return values
    return functional.interpolate(values, (height, width), mode="bilinear", align_corners=False)


def resize_antialiased(values: Tensor, height: int, width: int) -> Tensor:
    """Resize (B, C, H, W) with anti-aliasing, by a triangle filter whose width follows the scale.

    uint8 input works on the CPU only and stays uint8; other devices need floating point.
    """
    if values.shape[-2:] == (height, width):
        return values
    return functional.interpolate(values, (height, width), mode="bilinear", align_corners=False, antialias=True)


def resize_nearest(values: Tensor, height: int, width: int) -> Tensor:
    """Resize (B, C, H, W) to the nearest pixel centre."""
    return functional.interpolate(values, (height, width), mode="nearest-exact")


def scaled_intrinsics(K: Tensor, scale_x: float, scale_y: float, convention: Convention = "exact") -> Tensor:
    """Return the intrinsics, (B, 3, 3) or (B, 4, 4), of an image resized by the factors new size / old size.

    ``exact`` keeps pixel centres at integers; the reference conventions only multiply rows 0 and 1.
    """
    scaled = K.clone()
    scaled[..., 0, :] = K[..., 0, :] * scale_x
    scaled[..., 1, :] = K[..., 1, :] * scale_y
    if convention == "exact":
        scaled[..., 0, 2] = (K[..., 0, 2] + 0.5) * scale_x - 0.5
        scaled[..., 1, 2] = (K[..., 1, 2] + 0.5) * scale_y - 0.5
    return scaled


def sampling_grid(
    points: Tensor,
    K_source: Tensor,
    T_source_target: Tensor,
    source_size: tuple[int, int] | torch.Size,
    convention: Convention = "exact",
) -> tuple[Tensor, Tensor]:
    """Project the target's points (B, 3, H, W) into a source image of (height, width).

    Returns:
        The grid (B, H, W, 2) for `sample_grid`, and a (B, 1, H, W) bool mask. The mask is True for points in front of
        the camera and inside the image.
    """
    with autocast_off(points):
        epsilon = 0.0 if convention == "exact" else REFERENCE_EPSILON
        pixels, z = project(points, K_source, T_source_target, epsilon)
        # the original divides by the target's size, which is also the source's size there
        height, width = source_size if convention == "exact" else points.shape[-2:]
        grid = grid_from_pixels(pixels, width, height, convention)
        x, y = pixels[..., 0].detach(), pixels[..., 1].detach()
        height, width = source_size
        inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
        return grid, inside[:, None] & (z.detach() > 0)


def warp_points(
    source: Tensor, points: Tensor, K_source: Tensor, T_source_target: Tensor, convention: Convention = "exact"
) -> tuple[Tensor, Tensor]:
    """Sample ``source`` (B, C, Hs, Ws) where the target's points (B, 3, H, W) project to; see `warp`."""
    with autocast_off(source):
        source = at_least_fp32(source)
        grid, valid = sampling_grid(points, K_source, T_source_target, source.shape[-2:], convention)
        return sample_grid(source, grid, convention), valid


def warp(
    source: Tensor,
    depth_target: Tensor,
    K_target: Tensor,
    K_source: Tensor,
    T_source_target: Tensor,
    convention: Convention = "exact",
) -> tuple[Tensor, Tensor]:
    """Synthesise the target view from a source image, the target's depth and the motion between them.

    Args:
        source: (B, C, Hs, Ws), any floating type; computed in fp32 (fp64 stays fp64).
        depth_target: (B, 1, H, W), z-depth in the unit of the motion's translation.
        K_target: (B, 3, 3) or (B, 4, 4) intrinsics in pixels of ``depth_target``.
        K_source: the same for ``source``.
        T_source_target: (B, 4, 4), maps points of the target's frame to the source's.
        convention: see the module.

    Returns:
        The warped image, (B, C, H, W), with repeated border pixels outside; and a (B, 1, H, W) bool mask. The mask is
        true where the point is in front of the source camera and inside its image, including half a pixel of border.

    Raises:
        ConfigError: the convention is unknown.
    """
    check_convention(convention)
    with autocast_off(source):
        points = backproject(depth_target, intrinsics_3x3(K_target))
        return warp_points(source, points, K_source, T_source_target, convention)
