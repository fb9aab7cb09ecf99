"""The change of units between a live camera and the canonical one."""

from __future__ import annotations

from torch import Tensor

from featdepth_ros.models.info import ModelInfo


def canonical_focal_px(info: ModelInfo) -> float:
    """Focal length of the canonical camera in pixels, see `ModelInfo.focal_px`."""
    focal_px = info.focal_px
    assert focal_px is not None, "training always knows its canonical camera"
    return focal_px


def focal_ratio(camera: Tensor, info: ModelInfo) -> Tensor:
    """Return r = f_live / f_canonical, (B,), from (B, 4) intrinsics in pixels at the networks' size.

    The canonical focal length is meant in pixels whatever the size of the images: what matters to a convolutional
    network is how many pixels a thing of known size covers.
    """
    return (camera[:, 0] * camera[:, 1]).sqrt() / canonical_focal_px(info)


def depth_in_network_units(depth_m: Tensor, ratio: Tensor) -> Tensor:
    """A thing seen at r times the canonical focal length looks r times nearer: network depth = metres / r."""
    return depth_m / ratio.view(-1, *[1] * (depth_m.ndim - 1))
