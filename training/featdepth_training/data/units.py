"""The change of units between a live camera and the canonical one."""

from __future__ import annotations

from torch import Tensor

from featdepth_ros.models.info import ModelInfo


def focal_ratio(camera: Tensor, info: ModelInfo) -> Tensor:
    """Return `ModelInfo.focal_ratio`, (B,), from (B, 4) intrinsics in pixels at the networks' size."""
    return info.focal_ratio(camera[:, 0], camera[:, 1])


def depth_in_network_units(depth_m: Tensor, ratio: Tensor, info: ModelInfo) -> Tensor:
    """Return depth or translation in the network's own unit, of the shape of ``depth_m``.

    A thing seen at r times the canonical focal length looks r times nearer: network depth = metres / (r metres a unit).

    Args:
        depth_m: (B, ...) metres.
        ratio: (B,) `focal_ratio`.
        info: its ``scale_factor`` is the number of metres in a unit.
    """
    return depth_m / (info.scale_factor * ratio.view(-1, *[1] * (depth_m.ndim - 1)))
