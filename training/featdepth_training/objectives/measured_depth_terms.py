"""Terms that compare depth with measured depth: from matching, or from a depth sensor of the recording."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from featdepth_ros.models.info import ModelInfo
from featdepth_training.config.schema import TermsConfig
from featdepth_training.data.batch import FrameBatch
from featdepth_training.data.units import depth_in_network_units, focal_ratio
from featdepth_training.objectives.prediction import Prediction
from featdepth_training.objectives.supervised import gradient_term, log_depths, weighted_mean

#: Share of the measured inverse depth in the unit of `_up_to_scale_and_shift`; the frame's spread is the rest. Without
#: it, the near half of a frame would count far more than the far half.
OWN_SHARE = 0.3


def pseudo_depth_term(prediction: Prediction, batch: FrameBatch, info: ModelInfo, config: TermsConfig) -> Tensor:
    """Return `_difference` to the pseudo-depth; without a stereo partner up to scale and shift of each frame."""
    metric = torch.isfinite(batch.T_partner_camera).flatten(1).all(1).repeat_interleave(len(prediction.targets))
    return _difference(prediction, batch.pseudo_depth, metric, batch, info, config)


def sensor_depth_term(prediction: Prediction, batch: FrameBatch, info: ModelInfo, config: TermsConfig) -> Tensor:
    """Return `_difference` to the recorded metric depth (RGB-D, LiDAR); 0 if there is none."""
    metric = torch.ones(len(batch.depth) * len(prediction.targets), dtype=torch.bool, device=batch.depth.device)
    return _difference(prediction, batch.depth, metric, batch, info, config)


def _difference(
    prediction: Prediction, measured: Tensor, metric: Tensor, batch: FrameBatch, info: ModelInfo, config: TermsConfig
) -> Tensor:
    """Return the mean absolute error of depth over the four scales, plus half of `gradient_term`.

    ``measured`` (B, F, 1, H, W) is NaN where unknown. The error is that of log depth. Frames for which ``metric``
    (B T,) is False have that of `_up_to_scale_and_shift`.
    """
    measured = measured[:, list(prediction.targets)]
    known = ~torch.isnan(measured).flatten(0, 1)
    units = depth_in_network_units(measured, focal_ratio(batch.intrinsics, info), info).flatten(0, 1)
    log = torch.where(known, units, 1.0).clamp(min=1e-6).log()
    metric = metric.view(-1, 1, 1, 1)
    log = torch.where(metric, log.clamp(math.log(info.min_depth), math.log(info.max_depth)), log)
    total = log.new_zeros(())
    for k, (share, found, real, mask) in enumerate(log_depths(prediction, log, known.float(), info, config)):
        residual = torch.where(metric, found - real, _up_to_scale_and_shift(found, real, mask))
        total = total + share * weighted_mean(residual.abs(), mask)
        if k == 0:
            total = total + 0.5 * gradient_term(residual, mask)
    return total


def _up_to_scale_and_shift(log: Tensor, goal: Tensor, mask: Tensor) -> Tensor:
    """Return the error of inverse depth after the best scale and shift of each frame, about as a share of it.

    Depth from the frames of one camera has no scale. A small error of the motion between them also shifts inverse
    depth. The fit itself has no gradient. Source: Ranftl et al., MiDaS (2020), eqs. 1 to 3, with another unit.

    Args:
        log: predicted log depth, (N, 1, H, W), in any unit.
        goal: measured log depth, the same shape; any value where ``mask`` is 0.
        mask: 1 where depth was measured, else 0.
    """
    found, real = (-log).exp(), (-goal).exp()

    def mean(values: Tensor) -> Tensor:
        return (values * mask).sum((1, 2, 3), keepdim=True) / mask.sum((1, 2, 3), keepdim=True).clamp_min(1.0)

    with torch.no_grad():
        found_spread, real_spread = found - mean(found), real - mean(real)
        scale = mean(found_spread * real_spread) / mean(found_spread * found_spread).clamp_min(1e-9)
        # A frame that is near where it should be far still learns from this.
        scale = scale.clamp_min(1e-3)
        shift = mean(real) - scale * mean(found)
        unit = (OWN_SHARE * real + mean(real_spread.abs())).clamp_min(1e-6)
    return (scale * found + shift - real) / unit
