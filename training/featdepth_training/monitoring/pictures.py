"""Images of a batch for TensorBoard: input, prediction, ground truth and error side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.info import ModelInfo
from featdepth_training.config.schema import TrainConfig
from featdepth_training.data.batch import FrameBatch
from featdepth_training.data.units import depth_in_network_units, focal_ratio
from featdepth_training.objectives.prediction import Prediction
from featdepth_training.objectives.supervised import log_depth
from featdepth_training.objectives.terms import prediction_terms


def colour_log_depth(log_depth_map: NDArray[np.floating], low: float, high: float) -> NDArray[np.uint8]:
    """Colour (H, W) natural logarithms of depth as (H, W, 3) uint8 RGB; near is bright, far is dark."""
    level = np.clip((high - log_depth_map) / max(high - low, 1e-6), 0, 1)
    level = np.nan_to_num(level, nan=0.0)
    coloured = cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    return np.ascontiguousarray(coloured[..., ::-1])


def depth_panel(batch: FrameBatch, prediction: Prediction, info: ModelInfo, rows: int = 4) -> NDArray[np.uint8]:
    """Return rows of image | predicted depth | true depth | error of log depth (0 to 0.5), for the first frames.

    Without ground truth the row ends with the prediction.
    """
    count = min(rows, batch.images.shape[0])
    size = batch.images.shape[-2:]
    first = prediction.disparities[0][:: len(prediction.targets)][:count]
    maps = torch.nn.functional.interpolate(first.detach().float(), size, mode="bilinear", align_corners=False)
    predicted = log_depth(maps, info)[:, 0].cpu().numpy()
    truth_units = depth_in_network_units(batch.depth[:, 0], focal_ratio(batch.intrinsics, info), info)[:count, 0]
    truth = truth_units.clamp(info.min_depth, info.max_depth).log().cpu().numpy()
    images = (batch.images[:count, 0].clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    panels: list[NDArray[np.uint8]] = []
    for image, guess, right in zip(images, predicted, truth, strict=True):
        known = right[np.isfinite(right)]
        low, high = np.percentile(known if known.size else guess, [1, 99])
        if not known.size:
            panels.append(np.concatenate((image, colour_log_depth(guess, low, high)), 1))
            continue
        error = np.nan_to_num(np.abs(guess - right) / 0.5)
        wrong = cv2.applyColorMap((np.clip(error, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)[..., ::-1]
        row = (image, colour_log_depth(guess, low, high), colour_log_depth(right, low, high), wrong)
        panels.append(np.concatenate(row, 1))
    return np.ascontiguousarray(np.concatenate(panels, 0))


def validation_pictures(
    model: FeatDepthModel, shown: Mapping[str, tuple[FrameBatch, Prediction]], config: TrainConfig
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield name and image: depth of each data source and, if neighbours or partners supervise it, its warps."""
    for source, (batch, prediction) in shown.items():
        yield f"depth/{source}", depth_panel(batch, prediction, model.info)
        explained = config.data.kind != "mixed" or not bool(batch.rendered.any())
        if config.objective.selfsupervised and explained and not bool(batch.single.any()):
            yield f"warps/{source}", warp_panel(model, batch, prediction, config)


#: Colours of the sources with the least error, in order, and of pixels that automasking excludes.
SOURCE_COLOURS = ((230, 140, 40), (60, 160, 230), (90, 200, 110))
UNWARPED_COLOUR = (70, 70, 70)


def warp_panel(
    model: FeatDepthModel, batch: FrameBatch, prediction: Prediction, config: TrainConfig, rows: int = 4
) -> NDArray[np.uint8]:
    """Return rows of target | every source warped to it | source with the least error per pixel, for the finest scale.

    With two frames, which are targets of each other, the rows of the first target precede those of the second.
    """
    tensors: dict[Any, torch.Tensor] = {}
    with torch.no_grad():
        prediction_terms(model, prediction, batch, config, tensors)
    finest = min(key[1] for key in tensors if key[0] == "winner")
    warped = [images for key, images in tensors.items() if key[0] == "warped" and key[2] == finest]
    winner = tensors["winner", finest]
    sources = len(warped)
    # With automasking, the unwarped sources come before the warped ones.
    unwarped = (UNWARPED_COLOUR,) * sources if int(winner.max()) >= sources else ()
    colours = np.array((*unwarped, *SOURCE_COLOURS), np.uint8)
    middle = 1 if batch.frames > 2 else 0
    panels: list[NDArray[np.uint8]] = []
    for i in range(min(rows, len(winner), batch.images.shape[0])):
        pictures = [batch.images[i, middle], *(images[i] for images in warped)]
        row = [(p.clamp(0, 1) * 255).byte().permute(1, 2, 0).cpu().numpy() for p in pictures]
        row.append(colours[winner[i].cpu().numpy()])
        panels.append(np.concatenate(row, 1))
    return np.ascontiguousarray(np.concatenate(panels, 0))
