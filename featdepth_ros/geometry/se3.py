"""Rigid motions of pose networks as batched tensors, fp32 or fp64. For numpy see `se3_numpy`.

Gradients are finite at zero rotation.
"""

from __future__ import annotations

import torch
from torch import Tensor


def make(rotation: Tensor, translation: Tensor) -> Tensor:
    """Return (..., 4, 4) motions from rotations (..., 3, 3) and translations (..., 3)."""
    top = torch.cat([rotation, translation[..., None]], -1)
    bottom = torch.zeros_like(top[..., :1, :])
    bottom[..., 3] = 1
    return torch.cat([top, bottom], -2)


def pose_matrix(axisangle: Tensor, translation: Tensor, invert: bool = False) -> Tensor:
    """Return the motion for a pose network's output, computed as in the reference (docs/reference.md 2).

    The axis is ``v / (|v| + 1e-7)``, so the rotation of tiny vectors is smaller than their length.

    Args:
        axisangle: (B, 3) rotation vectors, radians, fp32 or fp64 (half precision is converted to fp32).
        translation: (B, 3) translations.
        invert: False returns [R | t], True returns [R^T | -R^T t]. The network's input is (earlier, later), so a motion
            into the earlier frame is the inverted one.

    Returns:
        (B, 4, 4) motions.
    """
    axisangle = axisangle if axisangle.dtype == torch.float64 else axisangle.float()
    translation = translation.to(axisangle.dtype)
    angle = axisangle.norm(dim=-1, keepdim=True)
    x, y, z = (axisangle / (angle + 1e-7)).unbind(-1)
    cosine, sine = angle[..., 0].cos(), angle[..., 0].sin()
    rest = 1 - cosine
    rotation = torch.stack(
        [
            x * x * rest + cosine,
            x * y * rest - z * sine,
            z * x * rest + y * sine,
            x * y * rest + z * sine,
            y * y * rest + cosine,
            y * z * rest - x * sine,
            z * x * rest - y * sine,
            y * z * rest + x * sine,
            z * z * rest + cosine,
        ],
        dim=-1,
    ).reshape(*axisangle.shape[:-1], 3, 3)
    if not invert:
        return make(rotation, translation)
    rotation = rotation.transpose(-1, -2)
    return make(rotation, -(rotation @ translation[..., None])[..., 0])


def refocused_motion(axisangle: Tensor, translation: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor]:
    """Return the motion of a camera with another focal length for the same optical flow, to first order in its angle.

    A pose net that regresses the motion assumes the training camera for every image. Let both cameras have the same
    depth maps, and the other one r times the focal length. The flow f t_x / Z then needs t_x / r, f x t_z / Z the same
    t_z, and f w_y needs w_y / r. The rotation about the optical axis does not depend on f.

    Args:
        axisangle: (B, 3) radians, for the training camera.
        translation: (B, 3), in the unit of depth, for the training camera.
        ratio: (B,) r, focal length of the other camera over that of the training camera.

    Returns:
        Axisangle and translation, (B, 3) each, of the other camera.
    """
    r = ratio.to(axisangle)[:, None]
    across = torch.cat((r, r, torch.ones_like(r)), 1)
    return axisangle / across, translation / across
