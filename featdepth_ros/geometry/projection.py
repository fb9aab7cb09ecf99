"""Pixels to points and back, always in fp32 or better: half precision cannot hold a pixel coordinate."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor

#: Points nearer than this to the camera's plane (or behind it) divide by it instead, so that nothing is infinite.
NEAREST_Z = 1e-4


def at_least_fp32(values: Tensor) -> Tensor:
    """Return ``values`` in fp32, or as they are when already fp64."""
    return values if values.dtype == torch.float64 else values.float()


def autocast_off(values: Tensor) -> AbstractContextManager[None]:
    """Context in which autocast, if a caller turned it on for this device, does not touch the arithmetic."""
    return torch.autocast(values.device.type, enabled=False)


def intrinsics_3x3(K: Tensor) -> Tensor:
    """The 3x3 part of (B, 3, 3) or (B, 4, 4) intrinsics, fp32 or better."""
    return at_least_fp32(K)[..., :3, :3]


def pixel_rays(K: Tensor, height: int, width: int, inverse_K: Tensor | None = None) -> Tensor:
    """Directions (B, 3, H, W) with z = 1 of every pixel centre of a pinhole camera.

    K is (B, 3, 3) or (B, 4, 4); its inverse may be given, else it is computed.
    """
    K = intrinsics_3x3(K)
    v, u = torch.meshgrid(
        torch.arange(height, dtype=K.dtype, device=K.device),
        torch.arange(width, dtype=K.dtype, device=K.device),
        indexing="ij",
    )
    pixels = torch.stack([u, v, torch.ones_like(u)]).reshape(3, -1)
    # `inv` would wait for the device to report singular matrices
    inverse = torch.linalg.inv_ex(K)[0] if inverse_K is None else intrinsics_3x3(inverse_K).to(K.dtype)
    return (inverse @ pixels).reshape(K.shape[0], 3, height, width)


def backproject(depth: Tensor, K: Tensor, inverse_K: Tensor | None = None) -> Tensor:
    """Lift a z-depth map into space.

    Args:
        depth: (B, 1, H, W), any floating type.
        K: (B, 3, 3) or (B, 4, 4), pixels of the depth map, pixel centres at integers.
        inverse_K: inverse of K where it is at hand.

    Returns:
        (B, 3, H, W) points in the camera's optical frame, unit of the depth, fp32 (fp64 for fp64 input).
    """
    with autocast_off(depth):
        depth = at_least_fp32(depth)
        height, width = depth.shape[-2:]
        return depth * pixel_rays(K.to(depth.dtype), height, width, inverse_K)


def project(points: Tensor, K: Tensor, T: Tensor, epsilon: float = 0.0) -> tuple[Tensor, Tensor]:
    """Move points by T and project them.

    Args:
        points: (B, 3, H, W).
        K: (B, 3, 3) or (B, 4, 4), pixels of the camera projected into.
        T: (B, 4, 4), maps the points' frame into that camera's frame.
        epsilon: added to z before the division instead of the guard against z near or below zero: the reference's
            1e-7 (docs/reference.md 2). 0 keeps every result finite.

    Returns:
        pixels (B, H, W, 2), x then y, and z (B, 1, H, W) in the points' unit.
    """
    with autocast_off(points):
        points = at_least_fp32(points)
        batch, _, height, width = points.shape
        K, T = intrinsics_3x3(K).to(points.dtype), at_least_fp32(T).to(points.dtype)
        homogeneous = torch.cat([points.reshape(batch, 3, -1), points.new_ones(batch, 1, height * width)], 1)
        moved = K @ T[..., :3, :] @ homogeneous  # in the reference's order of operations, to the last bit
        z = moved[:, 2:]
        divisor = z + epsilon if epsilon else z.clamp(min=NEAREST_Z)
        pixels = (moved[:, :2] / divisor).reshape(batch, 2, height, width).permute(0, 2, 3, 1)
        return pixels, z.reshape(batch, 1, height, width)
