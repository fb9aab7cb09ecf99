"""Pictures of a batch: image, prediction, truth and error side by side."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from featdepth_ros.models.info import ModelInfo
from featdepth_training.batch import FrameBatch, depth_in_network_units, focal_ratio
from featdepth_training.prediction import Prediction
from featdepth_training.supervised import log_depth


def colour_log_depth(log_depth_map: NDArray[np.floating], low: float, high: float) -> NDArray[np.uint8]:
    """Near is bright, far is dark, on a logarithmic scale: (H, W) natural logarithms -> (H, W, 3) uint8 RGB."""
    level = np.clip((high - log_depth_map) / max(high - low, 1e-6), 0, 1)
    level = np.nan_to_num(level, nan=0.0)
    coloured = cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    return np.ascontiguousarray(coloured[..., ::-1])


def depth_panel(batch: FrameBatch, prediction: Prediction, info: ModelInfo, rows: int = 4) -> NDArray[np.uint8]:
    """Rows of image | predicted depth | true depth | error of log depth (0 to 0.5), first frames of the batch."""
    count = min(rows, batch.images.shape[0])
    size = batch.images.shape[-2:]
    first = prediction.disparities[0][:: batch.frames][:count]
    maps = torch.nn.functional.interpolate(
        first.detach().float(), size, mode="bilinear", align_corners=False
    )
    predicted = log_depth(maps, info)[:, 0].cpu().numpy()
    truth_units = depth_in_network_units(batch.depth[:, 0], focal_ratio(batch.camera, info))[:count, 0]
    truth = truth_units.clamp(info.min_depth, info.max_depth).log().cpu().numpy()
    images = (batch.images[:count, 0].clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    panels: list[NDArray[np.uint8]] = []
    for image, guess, right in zip(images, predicted, truth, strict=True):
        known = right[np.isfinite(right)]
        low, high = np.percentile(known if known.size else guess, [1, 99])
        error = np.nan_to_num(np.abs(guess - right) / 0.5)
        wrong = cv2.applyColorMap((np.clip(error, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
        row = (image, colour_log_depth(guess, low, high), colour_log_depth(right, low, high), wrong)
        panels.append(np.concatenate(row, 1))
    return np.ascontiguousarray(np.concatenate(panels, 0))
