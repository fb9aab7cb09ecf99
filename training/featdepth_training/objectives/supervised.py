"""The supervised objective: true depth and motion of rendered clips.

Depth is compared as log depth in network units, so that rooms and streets have equal weight. All terms are float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from featdepth_ros.models.info import ModelInfo
from featdepth_training.config.schema import TermsConfig
from featdepth_training.data.batch import FrameBatch, axisangle_of
from featdepth_training.data.units import depth_in_network_units, focal_ratio
from featdepth_training.objectives.prediction import Prediction

#: Unit of the motion errors in radians of the actual camera: about 7 pixels at a focal length of 370 pixels.
MOTION_UNIT_RAD = 0.02


def log_depth(disparity: Tensor, info: ModelInfo) -> Tensor:
    """Natural logarithm of depth in network units from a sigmoid map."""
    low, high = 1 / info.max_depth, 1 / info.min_depth
    return -torch.log(low + (high - low) * disparity.float())


def depth_target(
    batch: FrameBatch, targets: Sequence[int], info: ModelInfo, far_weight: float
) -> tuple[Tensor, Tensor]:
    """Return log depth (B T, 1, H, W) of the T targets in network units, clamped to the model's range, and weights."""
    known_m = batch.depth[:, list(targets)]
    depth = depth_in_network_units(known_m, focal_ratio(batch.intrinsics, info), info).flatten(0, 1)
    known = ~torch.isnan(depth)
    weight = known.float() * torch.where(depth >= info.max_depth, far_weight, 1.0)
    depth = torch.where(known, depth, torch.ones_like(depth))
    return depth.clamp(info.min_depth, info.max_depth).log(), weight


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Return the mean of values under weights of the same shape, a scalar; 0 where all weights are 0."""
    return (values * weight).sum() / weight.sum().clamp_min(1.0)


def _subsample(x: Tensor, size: Sequence[int]) -> Tensor:
    """Sample the middle pixel of each cell of a coarser grid, so that truth is not averaged across an edge."""
    step_y, step_x = x.shape[-2] // size[0], x.shape[-1] // size[1]
    return x[..., step_y // 2 :: step_y, step_x // 2 :: step_x]


def gradient_term(residual: Tensor, weight: Tensor, scales: int = 4) -> Tensor:
    """Return multi-scale gradient matching of the residual of log depth, which makes depth edges sharp.

    Source: Li and Snavely, MegaDepth (CVPR 2018), eq. 4; as in Ranftl et al., MiDaS (2020), eq. 11.
    """
    total = residual.new_zeros(())
    for k in range(scales):
        r, w = residual[..., :: 2**k, :: 2**k], weight[..., :: 2**k, :: 2**k]
        if min(r.shape[-2:]) < 2:
            break
        both_x, both_y = w[..., 1:] * w[..., :-1], w[..., 1:, :] * w[..., :-1, :]
        total = total + weighted_mean((r[..., 1:] - r[..., :-1]).abs(), both_x)
        total = total + weighted_mean((r[..., 1:, :] - r[..., :-1, :]).abs(), both_y)
    return total


def log_depth_residuals(
    prediction: Prediction, log: Tensor, weight: Tensor, info: ModelInfo, config: TermsConfig
) -> Iterator[tuple[float, Tensor, Tensor]]:
    """Yield the weight, the residual of log depth and the pixel weights of each scale, finest first.

    The finest is compared at the size of ``log`` (B T, 1, H, W), the others at their own.
    """
    total_weight = sum(config.scale_weights)
    for k, (disparity, scale_weight) in enumerate(zip(prediction.disparities, config.scale_weights, strict=True)):
        if k == 0:
            disparity = F.interpolate(disparity.float(), log.shape[-2:], mode="bilinear", align_corners=False)
        goal, mask = (_subsample(x, disparity.shape[-2:]) for x in (log, weight))
        yield scale_weight / total_weight, log_depth(disparity, info) - goal, mask


def motion_terms(prediction: Prediction, batch: FrameBatch, info: ModelInfo) -> tuple[Tensor, Tensor]:
    """Return the errors of rotation and translation in units of `MOTION_UNIT_RAD`, (B (F - 1),) each.

    A translation is divided by the median depth, which gives the rotation in radians with the same image motion. With
    relative errors, the centimetres of a hand-held camera would dominate the metres of a car.
    """
    ratio = focal_ratio(batch.intrinsics, info)
    depth = depth_in_network_units(batch.depth[:, :-1], ratio, info).flatten(0, 1).flatten(1)
    distance = depth.clamp(info.min_depth, info.max_depth).nanmedian(dim=1).values
    return _motion_errors(prediction, batch, info, distance, torch.ones_like(distance, dtype=torch.bool))


def recorded_motion_term(prediction: Prediction, batch: FrameBatch, info: ModelInfo) -> Tensor:
    """Return the mean error of rotation plus translation to the recorded motion, as `motion_terms`; a scalar.

    A translation is divided by the median of the predicted depth, which is not trained by it. Pairs without recorded
    poses are left out; the term is 0 if no pair has them.
    """
    known = torch.isfinite(batch.T_next_frame).flatten(2).all(2).flatten()
    if not bool(known.any()):
        return prediction.axisangle.new_zeros(())
    distance = log_depth(prediction.disparities[0].detach(), info).flatten(1).median(dim=1).values.exp()
    distance = distance.unflatten(0, (len(batch.images), -1)).mean(1).repeat_interleave(batch.frames - 1)
    turn, shift = _motion_errors(prediction, batch, info, distance, known)
    return (turn + shift).mean()


def _motion_errors(
    prediction: Prediction, batch: FrameBatch, info: ModelInfo, distance: Tensor, known: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the errors of `motion_terms` of the ``known`` pairs, with the scene's distance in network units.

    ``distance`` and ``known`` are (B (F - 1),). The others are left out first: a gradient times NaN would be NaN.
    """
    axisangle, translation = (values[known] for values in motion_target(batch, info))
    turn = (prediction.axisangle.flatten(0, 1)[known] - axisangle).norm(dim=1)
    shift = (prediction.translation.flatten(0, 1)[known] - translation).norm(dim=1)
    return turn / MOTION_UNIT_RAD, shift / distance[known] / MOTION_UNIT_RAD


def flow_term(flow_px: Tensor, batch: FrameBatch) -> Tensor:
    """Return the mean distance, in cells, of a matched flow (B, F - 1, 2, h, w) from that of true depth and motion.

    Cells without depth, on moving objects or outside the next view do not count.
    """
    _, pairs, _, height, width = flow_px.shape
    step = batch.images.shape[-1] // width
    depth = _subsample(batch.depth[:, :-1], (height, width)).flatten(0, 1).clamp(max=1000.0)
    known = ~torch.isnan(depth)[:, 0]
    if batch.moving is not None:
        known = known & ~_subsample(batch.moving[:, :-1], (height, width)).flatten(0, 1)[:, 0]
    fx, fy, cx, cy = (v.repeat_interleave(pairs)[:, None, None] for v in batch.intrinsics.unbind(1))
    x = torch.arange(width, device=depth.device) * step + step // 2
    y = torch.arange(height, device=depth.device)[:, None] * step + step // 2
    z = torch.where(known, depth[:, 0], torch.ones_like(depth[:, 0]))
    points = torch.stack(((x - cx) / fx * z, (y - cy) / fy * z, z), 1).flatten(2)
    motions = batch.T_next_frame.flatten(0, 1)
    moved = (motions[:, :3, :3] @ points + motions[:, :3, 3:]).unflatten(2, (height, width))
    ahead = moved[:, 2].clamp_min(0.05)
    u, v = fx * moved[:, 0] / ahead + cx, fy * moved[:, 1] / ahead + cy
    inside = (moved[:, 2] > 0.05) & (u >= 0) & (v >= 0) & (u < batch.images.shape[-1]) & (v < batch.images.shape[-2])
    truth = torch.stack((u - x, v - y), 1)
    distance = (flow_px.flatten(0, 1) - truth).norm(dim=1) / step
    return weighted_mean(distance.clamp(max=8.0), (known & inside).float())


def motion_target(batch: FrameBatch, info: ModelInfo) -> tuple[Tensor, Tensor]:
    """Return the true motions between neighbours: axis-angle and translation in network units, (B (F - 1), 3) each."""
    motions = batch.T_next_frame.flatten(0, 1)
    ratio = focal_ratio(batch.intrinsics, info).repeat_interleave(batch.frames - 1)
    return axisangle_of(motions[:, :3, :3]), depth_in_network_units(motions[:, :3, 3], ratio, info)


def supervised_terms(
    prediction: Prediction, batch: FrameBatch, info: ModelInfo, config: TermsConfig
) -> dict[str, Tensor]:
    """Return every weighted term and ``total`` (scalars, float32).

    ``depth``: mean absolute error of log depth, over the four scales; ``gradient``: see `gradient_term`, finest scale;
    ``rotation``, ``translation``: see `motion_terms`; ``flow``: see `flow_term`.
    """
    target, weight = depth_target(batch, prediction.targets, info, config.far_weight)
    depth = target.new_zeros(())
    gradient = target.new_zeros(())
    for k, (share, residual, mask) in enumerate(log_depth_residuals(prediction, target, weight, info, config)):
        depth = depth + share * weighted_mean(residual.abs(), mask)
        if k == 0:
            gradient = gradient_term(residual, mask)
    terms = {"depth": config.depth * depth, "gradient": config.gradient * gradient}
    if max(config.rotation, config.translation) > 0:
        turn, shift = motion_terms(prediction, batch, info)
        terms["rotation"], terms["translation"] = config.rotation * turn.mean(), config.translation * shift.mean()
    if config.flow > 0 and prediction.flow_px is not None:
        terms["flow"] = config.flow * flow_term(prediction.flow_px, batch)
    return {**terms, "total": torch.stack(list(terms.values())).sum()}
