"""The term of recordings without truth that compares depth with that of classical matching."""

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
    """Mean absolute error of log depth over the four scales, and half of `gradient_term`, against `pseudo_depth`.

    Where the sample has no stereo partner the depths of a frame are compared up to their median ratio.
    """
    matched = batch.pseudo_depth[:, list(prediction.targets)]
    known = ~torch.isnan(matched).flatten(0, 1)
    units = depth_in_network_units(matched, focal_ratio(batch.intrinsics, info), info).flatten(0, 1)
    log = torch.where(known, units, 1.0).clamp(min=1e-6).log()
    metric = torch.isfinite(batch.T_partner_camera).flatten(1).all(1).repeat_interleave(len(prediction.targets))
    log = torch.where(metric.view(-1, 1, 1, 1), log.clamp(math.log(info.min_depth), math.log(info.max_depth)), log)
    total = log.new_zeros(())
    for k, (share, residual, mask) in enumerate(log_depth_residuals(prediction, log, known.float(), info, config)):
        middle = torch.where(mask > 0, residual.detach(), float("nan")).flatten(1).nanmedian(1).values.nan_to_num()
        residual = residual - torch.where(metric, 0.0, middle).view(-1, 1, 1, 1)
        total = total + share * weighted_mean(residual.abs(), mask)
        if k == 0:
            total = total + 0.5 * gradient_term(residual, mask)
    return total
