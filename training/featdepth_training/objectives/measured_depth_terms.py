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
from featdepth_training.objectives.supervised import gradient_term, log_depth_residuals, weighted_mean


def pseudo_depth_term(prediction: Prediction, batch: FrameBatch, info: ModelInfo, config: TermsConfig) -> Tensor:
    """Return `_difference` to the pseudo-depth; without a stereo partner up to the median ratio of each frame."""
    metric = torch.isfinite(batch.T_partner_camera).flatten(1).all(1).repeat_interleave(len(prediction.targets))
    return _difference(prediction, batch.pseudo_depth, metric, batch, info, config)


def sensor_depth_term(prediction: Prediction, batch: FrameBatch, info: ModelInfo, config: TermsConfig) -> Tensor:
    """Return `_difference` to the recorded metric depth (RGB-D, LiDAR); 0 if there is none."""
    metric = torch.ones(len(batch.depth) * len(prediction.targets), dtype=torch.bool, device=batch.depth.device)
    return _difference(prediction, batch.depth, metric, batch, info, config)


def _difference(
    prediction: Prediction, measured: Tensor, metric: Tensor, batch: FrameBatch, info: ModelInfo, config: TermsConfig
) -> Tensor:
    """Return the mean absolute error of log depth over the four scales, plus half of `gradient_term`.

    ``measured`` (B, F, 1, H, W) is NaN where unknown. Frames for which ``metric`` (B T,) is False are compared up to
    their median ratio.
    """
    measured = measured[:, list(prediction.targets)]
    known = ~torch.isnan(measured).flatten(0, 1)
    units = depth_in_network_units(measured, focal_ratio(batch.intrinsics, info), info).flatten(0, 1)
    log = torch.where(known, units, 1.0).clamp(min=1e-6).log()
    log = torch.where(metric.view(-1, 1, 1, 1), log.clamp(math.log(info.min_depth), math.log(info.max_depth)), log)
    total = log.new_zeros(())
    for k, (share, residual, mask) in enumerate(log_depth_residuals(prediction, log, known.float(), info, config)):
        middle = torch.where(mask > 0, residual.detach(), float("nan")).flatten(1).nanmedian(1).values.nan_to_num()
        residual = residual - torch.where(metric, 0.0, middle).view(-1, 1, 1, 1)
        total = total + share * weighted_mean(residual.abs(), mask)
        if k == 0:
            total = total + 0.5 * gradient_term(residual, mask)
    return total
