"""One radial distortion coefficient for points and pinhole pixels, for training that estimates the distortion.

Points are moved sideways to where the distorted image shows them. All other computations use a pinhole camera.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Fixed-point steps of the inverse; each step adds a correct digit for the coefficients of usual cameras.
ITERATIONS = 4


def bent(points: Tensor, k1: Tensor) -> Tensor:
    """Apply the distortion ``r (1 + k1 r^2)``, k1 (B,), to points (B, 3, H, W)."""
    x, y, z = points.unbind(1)
    depth = z.clamp_min(1e-3)
    squared = (x * x + y * y) / (depth * depth)
    # Far outside the view the polynomial decreases, but such points are not visible.
    factor = 1 + k1.view(-1, 1, 1) * squared.clamp(max=4.0)
    return torch.stack((x * factor, y * factor, z), 1)


def straightened(points: Tensor, k1: Tensor) -> Tensor:
    """Return the inverse of `bent`: points on rays of distorted pixels move to the undistorted rays."""
    x, y, z = points.unbind(1)
    depth = z.clamp_min(1e-3)
    squared = (x * x + y * y) / (depth * depth)
    factor = torch.ones_like(squared)
    for _ in range(ITERATIONS):
        factor = 1 / (1 + k1.view(-1, 1, 1) * squared * factor * factor)
    return torch.stack((x * factor, y * factor, z), 1)
