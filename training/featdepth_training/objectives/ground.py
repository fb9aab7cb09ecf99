"""The scale of depth from the height of the camera over the ground, which on a vehicle is known and never changes.

A plane is fitted to the depth that the network predicts for the road ahead. The camera's height over it, in metres, is
to be the known one. Source of the idea: Xue et al., Toward Hierarchical Self-Supervised Monocular Absolute Depth
Estimation for Autonomous Driving Applications (IROS 2020). They measure height the same way at inference.
"""

from __future__ import annotations

import torch
from torch import Tensor

from featdepth_ros.geometry.ground import ground_heights


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
