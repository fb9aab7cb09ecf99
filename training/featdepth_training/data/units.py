"""Conversion of units between an actual camera and the canonical one."""

from __future__ import annotations

from torch import Tensor

from featdepth_ros.models.info import ModelInfo


def focal_ratio(camera: Tensor, info: ModelInfo) -> Tensor:
    """Return `ModelInfo.focal_ratio`, (B,), from (B, 4) intrinsics in pixels at the networks' size."""
    return info.focal_ratio(camera[:, 0], camera[:, 1])


def depth_in_network_units(depth_m: Tensor, ratio: Tensor, info: ModelInfo) -> Tensor:
    """Return depth or translation in network units, with the shape of ``depth_m``.

    At r times the canonical focal length an object looks r times nearer: depth = metres / (r * metres_per_unit). The
    result is a target, so it has no gradient to the ratio. A focal length that is being learned would get NaN from it,
    where the depth is unknown.

    Args:
        depth_m: (B, ...) metres.
        ratio: (B,) result of `focal_ratio`.
        info: description of the model, whose ``scale_factor`` is the metres per unit.
    """
    return depth_m / (info.scale_factor * ratio.detach().view(-1, *[1] * (depth_m.ndim - 1)))
