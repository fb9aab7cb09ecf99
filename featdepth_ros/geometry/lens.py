"""A radial coefficient between points and pinhole pixels, for lenses whose distortion is being learnt.

Points are moved sideways so that a pinhole sees them where the lens shows them; everything else stays a pinhole's.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Fixed-point steps of the inverse; each gains a digit for the coefficients of cameras.
ITERATIONS = 4


def bent(points: Tensor, k1: Tensor) -> Tensor:
    """Move points (B, 3, H, W) to where a pinhole sees them as the lens does: ``r (1 + k1 r^2)``, k1 (B,)."""
    x, y, z = points.unbind(1)
    depth = z.clamp_min(1e-3)
    squared = (x * x + y * y) / (depth * depth)
    # Far outside the view the polynomial turns back; what lies there is not seen anyway.
    factor = 1 + k1.view(-1, 1, 1) * squared.clamp(max=4.0)
    return torch.stack((x * factor, y * factor, z), 1)


def straightened(points: Tensor, k1: Tensor) -> Tensor:
    """Undo `bent`: points on the rays of a pinhole's pixels go onto the rays that the lens has bent there."""
    x, y, z = points.unbind(1)
    depth = z.clamp_min(1e-3)
    squared = (x * x + y * y) / (depth * depth)
    factor = torch.ones_like(squared)
    for _ in range(ITERATIONS):
        factor = 1 / (1 + k1.view(-1, 1, 1) * squared * factor * factor)
    return torch.stack((x * factor, y * factor, z), 1)
