"""The scale of depth from the height of the camera over the ground, which on a vehicle is known and never changes.

A plane is fitted to the depth that the network predicts for the road ahead; the camera's height over it, in metres, is
to be the known one. Source of the idea: Xue et al., Toward Hierarchical Self-Supervised Monocular Absolute Depth
Estimation for Autonomous Driving Applications (IROS 2020), who measure height the same way at inference.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: The part of the picture that is taken for road: below this share of the height, between these shares of the width.
ROAD_TOP, ROAD_LEFT, ROAD_RIGHT = 0.6, 0.25, 0.75
#: Relative distances from the plane at which points begin to count less, fit by fit: what stands on the road drops out.
TOLERANCES = (0.3, 0.15, 0.07, 0.05)
#: A fit counts when the points near it make up this share, and it is tilted by no more than this.
NEAR_SHARE, MOST_TILT_RAD = 0.5, math.radians(12.0)


def ground_heights(depth: Tensor, camera: Tensor) -> tuple[Tensor, Tensor]:
    """The camera's height over the plane that the road's depth lies in.

    Args:
        depth: (B, 1, H, W) float32 z-depth, any unit; gradients flow through the fit.
        camera: (B, 4) fx, fy, cx, cy, pixels of H x W.

    Returns:
        (B,) heights in the unit of ``depth``, and (B,) bool: whether the fit can be believed.
    """
    height, width = depth.shape[-2:]
    top, left, right = int(ROAD_TOP * height), int(ROAD_LEFT * width), int(ROAD_RIGHT * width)
    fx, fy, cx, cy = (value[:, None, None] for value in camera.unbind(1))
    z = depth[:, 0, top:, left:right]
    x = (torch.arange(left, right, device=depth.device) - cx) / fx * z
    y = (torch.arange(top, height, device=depth.device)[:, None] - cy) / fy * z
    points = torch.stack((x, y, z), -1).flatten(1, 2)
    unit = points[..., 2:].detach().mean(1, keepdim=True)  # numbers around one, whatever the unit of depth
    points = points / unit
    weight = (1 / points[..., 2].detach()).square()  # errors of depth grow with depth
    # The first plane: level, as far below as most points are.
    normal = torch.zeros_like(points[:, 0])
    normal[:, 1] = 1 / points[..., 1].detach().median(1).values.clamp_min(1e-3)
    for tolerance in TOLERANCES:
        distance = (points.detach() @ normal.detach()[..., None])[..., 0] - 1
        w = (weight / (1 + (distance / tolerance).square()) ** 2)[..., None]
        A = points.mT @ (w * points)
        b = (w * points).sum(1)
        small = 1e-6 * A.diagonal(dim1=1, dim2=2).detach().mean(1)[:, None, None]
        normal = torch.linalg.solve(A + small * torch.eye(3, device=depth.device), b)
    with torch.no_grad():
        distance = (points @ normal[..., None])[..., 0] - 1
        near = (distance.abs() < 2 * TOLERANCES[-1]).float().mean(1) > NEAR_SHARE
        level = normal[:, 1] > math.cos(MOST_TILT_RAD) * normal.norm(dim=1)
    return unit[:, 0, 0] / normal.norm(dim=1).clamp_min(1e-6), near & level


def ground_term(depth_m: Tensor, camera: Tensor, height_m: Tensor) -> Tensor:
    """Mean absolute error of the logarithm of the camera's height, a scalar; 0 for samples without a reliable one.

    Args:
        depth_m: (B, 1, H, W) float32, metres.
        camera: (B, 4), pixels of H x W.
        height_m: (B,) true heights; NaN: unknown.
    """
    estimated, reliable = ground_heights(depth_m, camera)
    known = reliable & torch.isfinite(height_m)
    error = (torch.where(known, estimated, 1.0) / torch.where(known, height_m, 1.0)).log().abs()
    return torch.where(known, error, 0.0).mean()
