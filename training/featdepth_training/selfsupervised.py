"""The objective without truth: neighbouring frames, warped by predicted depth and motion, shall look alike.

Source: spec section 3 (Shu et al., ECCV 2020), by way of `featdepth_ros.losses.objective`.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor

from featdepth_ros.geometry.se3 import pose_matrix
from featdepth_ros.losses import ObjectiveConfig as LossConfig
from featdepth_ros.losses import feature_maps, objective
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.info import ModelInfo
from featdepth_training.batch import FrameBatch, focal_ratio
from featdepth_training.config import ObjectiveConfig
from featdepth_training.prediction import Prediction


def targets_and_sources(frames: int) -> list[tuple[int, tuple[int, ...]]]:
    """Which frames are explained, and from which: of two each by the other, of more every inner one by its neighbours.

    Returns:
        (target, sources) with equally many sources for each target.
    """
    if frames == 2:
        return [(0, (1,)), (1, (0,))]
    return [(k, (k - 1, k + 1)) for k in range(1, frames - 1)]


def loss_config(config: ObjectiveConfig, info: ModelInfo, sources: int) -> LossConfig:
    """The settings of `featdepth_ros.losses.objective` for ``sources`` neighbours, numbered 1 and on."""
    return LossConfig(
        frame_ids=(0, *range(1, sources + 1)),
        min_depth=info.min_depth,
        max_depth=info.max_depth,
        photometric_weight=config.photometric,
        feature_weight=config.features,
        smoothness_weight=config.smoothness,
        automask=config.automask,
    )


def warping_motion(axisangle: Tensor, translation: Tensor, ratio: Tensor, invert: bool) -> Tensor:
    """Motion (B, 4, 4) that, with the network's own depth, moves the live camera's pixels.

    The live camera's depth is r times the network's; dividing the whole motion by r moves the same pixels and leaves
    the depth alone (see `batch.motion_in_network_units` for the conversion undone here).
    """
    r, one = ratio[:, None], torch.ones_like(ratio[:, None])
    live_axisangle = axisangle / torch.cat((r, r, one), 1)
    return pose_matrix(live_axisangle, translation / torch.cat((r, r, one), 1), invert)


def selfsupervised_terms(
    model: FeatDepthModel,
    prediction: Prediction,
    batch: FrameBatch,
    config: ObjectiveConfig,
    pictures: MutableMapping[Any, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return every weighted term and ``total`` (scalars, float32): ``photometric``, ``features``, ``smoothness``.

    ``pictures`` is filled as by `featdepth_ros.losses.objective`.
    """
    plan = targets_and_sources(batch.frames)
    sources = len(plan[0][1])
    settings = loss_config(config, model.info, sources)
    ratio = focal_ratio(batch.camera, model.info)
    images = batch.images
    inputs: dict[Any, Tensor] = {
        ("color", 0, 0): torch.cat([images[:, target] for target, _ in plan]),
        "K": _intrinsics(batch.camera).repeat(len(plan), 1, 1),
    }
    outputs: dict[Any, Tensor] = {}
    for n in range(sources):
        inputs["color", n + 1, 0] = torch.cat([images[:, chosen[n]] for _, chosen in plan])
        motions = [_motion(prediction, target, chosen[n], ratio) for target, chosen in plan]
        outputs["cam_T_cam", 0, n + 1] = torch.cat(motions)
    for scale, disparity in enumerate(prediction.disparities):
        by_frame = disparity.unflatten(0, (-1, batch.frames))
        outputs["disp", 0, scale] = torch.cat([by_frame[:, target] for target, _ in plan])
    if config.features > 0:
        colours = {key[1]: value for key, value in inputs.items() if key[0] == "color"}
        outputs.update(feature_maps(colours, model.features, model))
    found = objective(inputs, outputs, settings, pictures=pictures)
    terms: dict[str, Tensor] = {}
    for key, value in found.items():
        if key != "total":
            name = {"feature": "features"}.get(key, key.split("/")[0])
            terms[name] = terms[name] + value if name in terms else value
    return {**terms, "total": found["total"]}


def _motion(prediction: Prediction, target: int, source: int, ratio: Tensor) -> Tensor:
    """T_source_target between neighbours; the network was given them in order of time."""
    first = min(target, source)
    return warping_motion(
        prediction.axisangle[:, first], prediction.translation[:, first], ratio, invert=source < target
    )


def _intrinsics(camera: Tensor) -> Tensor:
    """(B, 4) fx, fy, cx, cy to (B, 3, 3)."""
    K = torch.zeros(len(camera), 3, 3, device=camera.device)
    K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2] = camera.unbind(1)
    K[:, 2, 2] = 1.0
    return K
