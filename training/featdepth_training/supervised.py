"""The objective of the first stage: rendered depth and motion supervise directly.

Everything is compared in logarithms of network units, so that rooms and streets weigh alike, and in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.compact import CompactModel
from featdepth_ros.models.info import ModelInfo
from featdepth_training.batch import (
    PairBatch,
    axisangle_of,
    depth_in_network_units,
    focal_ratio,
    motion_in_network_units,
)
from featdepth_training.config import ObjectiveConfig

#: Motions below these are compared absolutely, above relatively (radians; network units).
ROTATION_FLOOR_RAD = 0.005
TRANSLATION_FLOOR = 0.05


@dataclass(frozen=True)
class Prediction:
    """Attributes: disparities of the earlier then the later images (2B, 1, h, w), finest first; motion (B, 3) each."""

    disparities: list[Tensor]
    axisangle: Tensor
    translation: Tensor


def predict(model: FeatDepthModel, batch: PairBatch) -> Prediction:
    """Run the networks on both images of each pair; the compact model encodes each image once."""
    both = torch.cat((batch.earlier, batch.later))
    if not isinstance(model, CompactModel):
        return Prediction(model.depth(both), *model.pose(batch.earlier, batch.later))
    features = model.encode(both)
    halves = [f.chunk(2) for f in features]
    motion = model.pose_from_features([h[0] for h in halves], [h[1] for h in halves])
    return Prediction(model.depth_from_features(features), *motion)


def log_depth(disparity: Tensor, info: ModelInfo) -> Tensor:
    """Natural logarithm of depth in network units from a sigmoid map."""
    low, high = 1 / info.max_depth, 1 / info.min_depth
    return -torch.log(low + (high - low) * disparity.float())


def depth_target(batch: PairBatch, info: ModelInfo, far_weight: float) -> tuple[Tensor, Tensor]:
    """Return log depth (2B, 1, H, W) in network units, clamped to the model's range, and weights of the same shape."""
    ratio = focal_ratio(batch.camera, info)
    depth = depth_in_network_units(torch.cat((batch.depth_earlier, batch.depth_later)), torch.cat((ratio, ratio)))
    known = ~torch.isnan(depth)
    weight = known.float() * torch.where(depth >= info.max_depth, far_weight, 1.0)
    depth = torch.where(known, depth, torch.ones_like(depth))
    return depth.clamp(info.min_depth, info.max_depth).log(), weight


def _weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp_min(1.0)


def _subsample(x: Tensor, size: Sequence[int]) -> Tensor:
    """Pick the pixel at the middle of each cell of a coarser grid: truth is never averaged across an edge."""
    step_y, step_x = x.shape[-2] // size[0], x.shape[-1] // size[1]
    return x[..., step_y // 2 :: step_y, step_x // 2 :: step_x]


def gradient_term(residual: Tensor, weight: Tensor, scales: int = 4) -> Tensor:
    """Multi-scale gradient matching: the residual of log depth shall be flat, which makes edges sharp and in place.

    Source: Li and Snavely, MegaDepth (CVPR 2018), eq. 4; as in Ranftl et al., MiDaS (2020), eq. 11.
    """
    total = residual.new_zeros(())
    for k in range(scales):
        r, w = residual[..., :: 2**k, :: 2**k], weight[..., :: 2**k, :: 2**k]
        if min(r.shape[-2:]) < 2:
            break
        both_x, both_y = w[..., 1:] * w[..., :-1], w[..., 1:, :] * w[..., :-1, :]
        total = total + _weighted_mean((r[..., 1:] - r[..., :-1]).abs(), both_x)
        total = total + _weighted_mean((r[..., 1:, :] - r[..., :-1, :]).abs(), both_y)
    return total


def motion_terms(prediction: Prediction, batch: PairBatch, info: ModelInfo) -> tuple[Tensor, Tensor]:
    """Errors of rotation and translation, relative to the motion with a floor: (B,) each, no unit."""
    rotation = axisangle_of(batch.motion[:, :3, :3])
    axisangle, translation = motion_in_network_units(rotation, batch.motion[:, :3, 3], focal_ratio(batch.camera, info))
    turn = (prediction.axisangle - axisangle).norm(dim=1) / (ROTATION_FLOOR_RAD + axisangle.norm(dim=1))
    shift = (prediction.translation - translation).norm(dim=1) / (TRANSLATION_FLOOR + translation.norm(dim=1))
    return turn, shift


def supervised_terms(
    prediction: Prediction, batch: PairBatch, info: ModelInfo, config: ObjectiveConfig
) -> dict[str, Tensor]:
    """Return every weighted term and ``total`` (scalars, float32).

    ``depth``: mean absolute error of log depth, over the four scales; ``gradient``: see `gradient_term`, finest scale;
    ``rotation``, ``translation``: see `motion_terms`.
    """
    target, weight = depth_target(batch, info, config.far_weight)
    total_weight = sum(config.scale_weights)
    depth = target.new_zeros(())
    gradient = target.new_zeros(())
    for k, (disparity, scale_weight) in enumerate(zip(prediction.disparities, config.scale_weights, strict=True)):
        if k == 0:
            disparity = F.interpolate(disparity.float(), target.shape[-2:], mode="bilinear", align_corners=False)
            goal, mask = target, weight
        else:
            goal, mask = (_subsample(x, disparity.shape[-2:]) for x in (target, weight))
        residual = log_depth(disparity, info) - goal
        depth = depth + scale_weight / total_weight * _weighted_mean(residual.abs(), mask)
        if k == 0:
            gradient = gradient_term(residual, mask)
    turn, shift = motion_terms(prediction, batch, info)
    terms = {
        "depth": config.depth * depth,
        "gradient": config.gradient * gradient,
        # log1p: a pair seen wholly wrong shall not drown the others.
        "rotation": config.rotation * torch.log1p(turn).mean(),
        "translation": config.translation * torch.log1p(shift).mean(),
    }
    return {**terms, "total": torch.stack(list(terms.values())).sum()}
