"""Back-projection and projection, in fp32 or fp64, because half precision is too coarse for pixel coordinates."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor

#: Least divisor of a projection, so that points near or behind the camera's plane have finite pixels.
NEAREST_Z = 1e-4


def at_least_fp32(values: Tensor) -> Tensor:
    """Return ``values`` in fp32; fp64 stays fp64."""
    return values if values.dtype == torch.float64 else values.float()


def autocast_off(values: Tensor) -> AbstractContextManager[None]:
    """Return a context that disables autocast on the device of ``values``."""
    return torch.autocast(values.device.type, enabled=False)


def intrinsics_3x3(K: Tensor) -> Tensor:
    """Return the 3x3 part of (B, 3, 3) or (B, 4, 4) intrinsics, in fp32 or fp64."""
    return at_least_fp32(K)[..., :3, :3]


def pixel_rays(K: Tensor, height: int, width: int, inverse_K: Tensor | None = None) -> Tensor:
    """Return the rays (B, 3, H, W) with z = 1 of all pixel centres of a pinhole camera.

    Args:
        K: (B, 3, 3) or (B, 4, 4) intrinsics, pixels.
        height: rows of the image.
        width: columns of the image.
        inverse_K: inverse of K; None: it is computed.
    """
    K = intrinsics_3x3(K)
    v, u = torch.meshgrid(
        torch.arange(height, dtype=K.dtype, device=K.device),
        torch.arange(width, dtype=K.dtype, device=K.device),
        indexing="ij",
    )
    pixels = torch.stack([u, v, torch.ones_like(u)]).reshape(3, -1)
    # `inv` would wait for the device's check for singular matrices
    inverse = torch.linalg.inv_ex(K)[0] if inverse_K is None else intrinsics_3x3(inverse_K).to(K.dtype)
    return (inverse @ pixels).reshape(K.shape[0], 3, height, width)


def backproject(depth: Tensor, K: Tensor, inverse_K: Tensor | None = None) -> Tensor:
    """Back-project a z-depth map to points.

    Args:
        depth: (B, 1, H, W), any floating type.
        K: (B, 3, 3) or (B, 4, 4) intrinsics, pixels of the depth map, pixel centres at integers.
        inverse_K: inverse of K; None: it is computed.

    Returns:
        (B, 3, H, W) points in the camera's optical frame, unit of the depth, fp32 (fp64 for fp64 input).
    """
    with autocast_off(depth):
        depth = at_least_fp32(depth)
        height, width = depth.shape[-2:]
        return depth * pixel_rays(K.to(depth.dtype), height, width, inverse_K)


def project(points: Tensor, K: Tensor, T: Tensor, epsilon: float = 0.0) -> tuple[Tensor, Tensor]:
    """Transform points by T and project them.

    Args:
        points: (B, 3, H, W) points.
        K: (B, 3, 3) or (B, 4, 4) intrinsics of the camera, pixels.
        T: (B, 4, 4), maps points to that camera's frame.
        epsilon: value that is added to z before the division, as the reference's 1e-7 (docs/reference.md 2). With 0, z
            is limited to `NEAREST_Z` instead, so that every result is finite.

    Returns:
        Pixels (B, H, W, 2), x then y, and z (B, 1, H, W) in the points' unit.
    """
    with autocast_off(points):
        points = at_least_fp32(points)
        batch, _, height, width = points.shape
        K, T = intrinsics_3x3(K).to(points.dtype), at_least_fp32(T).to(points.dtype)
        homogeneous = torch.cat([points.reshape(batch, 3, -1), points.new_ones(batch, 1, height * width)], 1)
        moved = K @ T[..., :3, :] @ homogeneous  # in the reference's order of operations, for bitwise equality
        z = moved[:, 2:]
        divisor = z + epsilon if epsilon else z.clamp(min=NEAREST_Z)
        pixels = (moved[:, :2] / divisor).reshape(batch, 2, height, width).permute(0, 2, 3, 1)
        return pixels, z.reshape(batch, 1, height, width)
