"""The networks over a batch of sequences."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.compact import CompactModel


@dataclass(frozen=True)
class Prediction:
    """What the networks say of B samples of F frames.

    Attributes:
        disparities: sigmoid maps (B F, 1, h, w) of every frame, sample by sample, finest first.
        axisangle, translation: (B, F - 1, 3) motions T_next_frame between neighbours, radians and network units.
    """

    disparities: list[Tensor]
    axisangle: Tensor
    translation: Tensor


def predict(model: FeatDepthModel, seen: Tensor) -> Prediction:
    """Run depth and pose networks on images (B, F, 3, H, W); the compact model encodes each image once."""
    count, frames = seen.shape[:2]
    every = seen.flatten(0, 1)
    if isinstance(model, CompactModel):
        maps = model.encode(every)
        disparities = model.depth_from_features(maps)
        by_frame = [m.unflatten(0, (count, frames)) for m in maps]
        axisangle, translation = model.pose_from_features(
            [m[:, :-1].flatten(0, 1) for m in by_frame], [m[:, 1:].flatten(0, 1) for m in by_frame]
        )
    else:
        disparities = model.depth(every)
        axisangle, translation = model.pose(seen[:, :-1].flatten(0, 1), seen[:, 1:].flatten(0, 1))
    return Prediction(
        disparities, axisangle.unflatten(0, (count, frames - 1)), translation.unflatten(0, (count, frames - 1))
    )
