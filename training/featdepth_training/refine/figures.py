"""Figures of weights on held-out clips, before and after refinement."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from featdepth_ros.geometry.se3 import pose_matrix
from featdepth_ros.metrics.depth import DepthProtocol, ImageErrors, evaluate_image
from featdepth_ros.metrics.kitti_odometry import relative_errors
from featdepth_ros.models.base import FeatDepthModel
from featdepth_training.config.schema import TrainConfig
from featdepth_training.data.batch import FrameBatch
from featdepth_training.data.units import focal_ratio
from featdepth_training.objectives.prediction import Prediction, predict
from featdepth_training.objectives.supervised import log_depth
from featdepth_training.objectives.terms import prediction_terms, wanted_targets
from featdepth_training.refine.gate import HeldOutFigures

AS_IT_IS = DepthProtocol(skip_invalid=True)
MEDIAN_SCALED = DepthProtocol(scale="median", skip_invalid=True)
#: Errors of log depth against matched depth are clipped here; larger ones come from false matches or moving objects.
MOST_SHAPE_ERROR = 0.7


@dataclass
class _Measured:
    terms: dict[str, list[float]] = field(default_factory=dict)
    plain: list[ImageErrors] = field(default_factory=list)
    scaled: list[ImageErrors] = field(default_factory=list)
    true_motions: list[NDArray[np.float64]] = field(default_factory=list)
    motions: list[NDArray[np.float64]] = field(default_factory=list)
    log_depths: list[Tensor] = field(default_factory=list)
    shape_errors: list[float] = field(default_factory=list)


@torch.no_grad()
def measure(
    model: FeatDepthModel, batches: Iterable[FrameBatch], config: TrainConfig
) -> tuple[HeldOutFigures, list[Tensor]]:
    """Return the figures, and (1, h, w) log depth in network units of each clip's target frame, on the CPU.

    Depth is compared at the target frame, within the limits of docs/reference.md 6 and without a crop, because cameras
    differ. Motion is compared between each clip's first two frames, in metres as in `inference.scale`.

    Args:
        model: the model, which is set to eval mode.
        batches: batches of clips of three frames, as floats on the model's device.
        config: configuration with the evaluated objective.
    """
    model.eval()
    torch.manual_seed(0)  # fixes the tie-breaking noise
    measured = _Measured()
    for batch in batches:
        prediction = predict(model, batch.images, batch.intrinsics, wanted_targets(config, batch.frames))
        terms = prediction_terms(model, prediction, batch, config)
        for name in ("photometric", "features"):
            measured.terms.setdefault(name, []).extend([float(terms.get(name, math.nan))] * batch.images.shape[0])
        ratio = focal_ratio(batch.intrinsics, model.info)
        _add_depth(measured, model, prediction, batch, ratio)
        _add_shape(measured, model, prediction, batch)
        _add_motion(measured, model, prediction, batch, ratio)
    return _figures(measured, model.info.scale_kind == "metric", config.objective.features > 0), measured.log_depths


def _add_depth(
    measured: _Measured, model: FeatDepthModel, prediction: Prediction, batch: FrameBatch, ratio: Tensor
) -> None:
    target = prediction.targets[0]
    maps = log_depth(prediction.disparities[0], model.info).unflatten(0, (-1, len(prediction.targets)))[:, 0]
    measured.log_depths += list(maps.cpu())
    depths = (maps.exp() * ratio.view(-1, 1, 1, 1) * model.info.scale_factor)[:, 0].cpu().numpy()
    for depth, truth in zip(depths, batch.depth[:, target, 0].cpu().numpy(), strict=True):
        for protocol, images in ((AS_IT_IS, measured.plain), (MEDIAN_SCALED, measured.scaled)):
            errors = evaluate_image(depth, truth, protocol)
            if errors is not None:
                images.append(errors)


def _add_shape(measured: _Measured, model: FeatDepthModel, prediction: Prediction, batch: FrameBatch) -> None:
    """Compare with matched depth, if the clip has it, up to the median ratio of each image."""
    target = prediction.targets[0]
    matched = batch.pseudo_depth[:, target]
    disparity = prediction.disparities[0].unflatten(0, (-1, len(prediction.targets)))[:, 0].float()
    disparity = F.interpolate(disparity, matched.shape[-2:], mode="bilinear", align_corners=False)
    for maps, goal in zip(log_depth(disparity, model.info), matched, strict=True):
        known = torch.isfinite(goal) & (goal > 0)
        if bool(known.any()):
            residual = maps[known] - goal[known].log()
            error = (residual - residual.median()).abs().clamp(max=MOST_SHAPE_ERROR).mean()
            measured.shape_errors.append(float(error))


def _add_motion(
    measured: _Measured, model: FeatDepthModel, prediction: Prediction, batch: FrameBatch, ratio: Tensor
) -> None:
    translation = prediction.translation[:, 0].float() * ratio[:, None] * model.info.scale_factor
    estimated = pose_matrix(prediction.axisangle[:, 0].float(), translation).double().cpu().numpy()
    for motion, truth in zip(estimated, batch.T_next_frame[:, 0].double().cpu().numpy(), strict=True):
        if np.isfinite(truth).all():
            measured.motions.append(motion)
            measured.true_motions.append(truth)


def _figures(measured: _Measured, metric: bool, has_features: bool) -> HeldOutFigures:
    def mean(images: list[ImageErrors], name: str) -> float | None:
        return float(np.mean([getattr(image, name) for image in images])) if images else None

    plain = measured.plain if metric else []
    turn_deg, shift_m, scaled_m = _motion_errors(measured)
    return HeldOutFigures(
        clips=len(measured.log_depths),
        photometric=float(np.mean(measured.terms["photometric"])),
        features=float(np.mean(measured.terms["features"])) if has_features else None,
        depth_frames=len(measured.plain),
        abs_rel=mean(plain, "abs_rel"),
        a1=mean(plain, "a1"),
        rmse_m=mean(plain, "rmse"),
        abs_rel_median_scaled=mean(measured.scaled, "abs_rel"),
        a1_median_scaled=mean(measured.scaled, "a1"),
        rmse_m_median_scaled=mean(measured.scaled, "rmse"),
        pairs=len(measured.motions),
        rpe_m=shift_m if metric else None,
        rpe_deg=turn_deg,
        rpe_m_scaled=scaled_m,
        matched_frames=len(measured.shape_errors),
        shape_error=float(np.mean(measured.shape_errors)) if measured.shape_errors else None,
    )


def _motion_errors(measured: _Measured) -> tuple[float | None, float | None, float | None]:
    """Return the mean errors of the motions: degrees, metres, and metres after the best common scale factor."""
    motions, truth = np.array(measured.motions), np.array(measured.true_motions)
    if not len(motions) or not np.isfinite(motions).all():
        return None, None, None
    shifts, true_shifts = motions[:, :3, 3], truth[:, :3, 3]
    length = float((shifts**2).sum())
    factor = float((shifts * true_shifts).sum()) / length if length > 0 else 1.0
    scaled = motions.copy()
    scaled[:, :3, 3] *= factor
    shift_m, turn_rad = _errors(truth, motions)
    return float(np.degrees(turn_rad)), shift_m, _errors(truth, scaled)[0]


def _errors(truth: NDArray[np.float64], motions: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean errors of T_later_earlier (N, 4, 4): metres, radians."""
    pairs = [
        relative_errors(*(np.stack([np.eye(4), np.linalg.inv(T)]) for T in both))
        for both in zip(truth, motions, strict=True)
    ]
    return float(np.mean([m[0] for m, _ in pairs])), float(np.mean([a[0] for _, a in pairs]))


@torch.no_grad()
def log_depths(model: FeatDepthModel, batches: Iterable[FrameBatch]) -> list[Tensor]:
    """Return (1, h, w) log depth in network units of each clip's middle frame, on the CPU; ``batches`` as `measure`."""
    model.eval()
    maps: list[Tensor] = []
    for batch in batches:
        maps += list(log_depth(model.depth(batch.images[:, batch.frames // 2])[0], model.info).cpu())
    return maps


def scale_ratio(before: list[Tensor], after: list[Tensor]) -> float:
    """Return the median over clips of the median depth after over before, from log depths."""
    ratios = [(new - old).median() for old, new in zip(before, after, strict=True)]
    return float(torch.stack(ratios).median().exp())


def depth_change(before: list[Tensor], after: list[Tensor]) -> float:
    """Return the mean absolute change of log depth over clips and pixels, without each image's change of scale."""
    changes = [new - old for old, new in zip(before, after, strict=True)]
    return float(torch.stack([(change - change.median()).abs().mean() for change in changes]).mean())
