"""The self-supervised objective: it compares each frame with its neighbours and its stereo partner.

These are warped by predicted depth and motion.

Source: docs/reference.md 3 (Shu et al., ECCV 2020), by way of `featdepth_ros.losses.objective`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor

from featdepth_ros.geometry.se3 import pose_matrix
from featdepth_ros.geometry.warp import scaled_intrinsics
from featdepth_ros.losses import ObjectiveConfig, feature_maps, objective
from featdepth_ros.losses.objective import depth_from_disparity
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.reference import ReferenceModel
from featdepth_training.config.schema import TermsConfig, TrainConfig
from featdepth_training.data.batch import FrameBatch
from featdepth_training.data.units import focal_ratio
from featdepth_training.objectives.ground import ground_term
from featdepth_training.objectives.measured_depth_terms import pseudo_depth_term, sensor_depth_term
from featdepth_training.objectives.prediction import Prediction
from featdepth_training.objectives.supervised import recorded_motion_term


def targets_and_sources(frames: int) -> list[tuple[int, tuple[int, ...]]]:
    """Return the target frames and their sources: with two frames each other, else every inner frame's neighbours.

    Returns:
        (target, sources) with equally many sources for each target; a single frame has none.
    """
    if frames == 1:
        return [(0, ())]
    if frames == 2:
        return [(0, (1,)), (1, (0,))]
    return [(k, (k - 1, k + 1)) for k in range(1, frames - 1)]


def loss_config(model: FeatDepthModel, config: TermsConfig, sources: int, stereo: bool) -> ObjectiveConfig:
    """Return the settings of `losses.objective` for ``sources`` neighbours, numbered from 1, and the partner."""
    values: dict[str, Any] = {
        "scales": config.warp_scales,
        "frame_ids": (0, *range(1, sources + 1), *(("s",) if stereo else ())),
        "min_depth": model.info.min_depth,
        "max_depth": model.info.max_depth,
        "photometric_weight": config.photometric,
        "feature_weight": config.features,
        "smoothness_weight": config.smoothness,
        "reconstruction_weight": config.reconstruction,
        "discriminative_weight": config.discriminative,
        "convergent_weight": config.convergent,
        "automask": config.automask,
        "disp_norm": config.disp_norm,
        "mask_outside": config.mask_outside,
    }
    if not config.reference:
        return ObjectiveConfig(**values)
    kind = "joint" if model.info.architecture.startswith("mono_fm_joint") else model.info.architecture.split("_r")[0]
    return ObjectiveConfig.reference({"mono_fm": "fm", "compact": "fm"}.get(kind, kind), **values)  # type: ignore[arg-type]


def stereo_motion(batch: FrameBatch, ratio: Tensor, metres_per_unit: float) -> Tensor:
    """Return T_partner_camera (B, 4, 4) in network units, for warps of the actual camera by the network's depth."""
    motion = batch.T_partner_camera.clone()
    motion[:, :3, 3] = motion[:, :3, 3] / (metres_per_unit * ratio[:, None])
    return motion


def selfsupervised_terms(
    model: FeatDepthModel,
    prediction: Prediction,
    batch: FrameBatch,
    config: TrainConfig,
    stereo: bool = False,
    pictures: MutableMapping[Any, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return every weighted term and ``total`` (scalars, float32): ``photometric``, ``features``, ``smoothness``...

    ``stereo`` makes the partner a source; every sample must then have one. ``pictures`` is filled as by
    `featdepth_ros.losses.objective`.
    """
    plan = targets_and_sources(batch.frames)
    neighbours = len(plan[0][1])
    weights = config.objective
    settings = loss_config(model, weights, neighbours, stereo)
    ratio = focal_ratio(batch.intrinsics, model.info)
    inputs: dict[Any, Tensor] = {
        ("color", 0, 0): torch.cat([batch.images[:, target] for target, _ in plan]),
        "K": _intrinsics(batch.intrinsics).repeat(len(plan), 1, 1),
    }
    if batch.lens is not None:
        inputs["lens"] = batch.lens.repeat(len(plan))
    if batch.moving is not None:
        inputs["moving", 0] = torch.cat([batch.moving[:, target] for target, _ in plan])
    outputs: dict[Any, Tensor] = {}
    for n in range(neighbours):
        inputs["color", n + 1, 0] = torch.cat([batch.images[:, chosen[n]] for _, chosen in plan])
        motions = [_motion(prediction, target, chosen[n]) for target, chosen in plan]
        outputs["cam_T_cam", 0, n + 1] = torch.cat(motions)
    if stereo:
        inputs["color", "s", 0] = torch.cat([batch.partner[:, target] for target, _ in plan])
        inputs["stereo_T"] = stereo_motion(batch, ratio, config.model.metres_per_unit).repeat(len(plan), 1, 1)
    positions = [prediction.targets.index(target) for target, _ in plan]
    for scale, disparity in enumerate(prediction.disparities):
        by_frame = disparity.unflatten(0, (-1, len(prediction.targets)))
        outputs["disp", 0, scale] = torch.cat([by_frame[:, position] for position in positions])
    outputs.update(_features(model, inputs, config))
    terms = named_terms(objective(inputs, outputs, settings, pictures=pictures))
    if weights.pseudo_depth > 0:
        difference = pseudo_depth_term(prediction, batch, model.info, weights)
        terms["pseudo_depth"] = weights.pseudo_depth * difference
        terms["total"] = terms["total"] + terms["pseudo_depth"]
    if weights.sensor_depth > 0:
        terms["sensor_depth"] = weights.sensor_depth * sensor_depth_term(prediction, batch, model.info, weights)
        terms["total"] = terms["total"] + terms["sensor_depth"]
    if weights.recorded_motion > 0:
        terms["recorded_motion"] = weights.recorded_motion * recorded_motion_term(prediction, batch, model.info)
        terms["total"] = terms["total"] + terms["recorded_motion"]
    if weights.ground > 0:
        terms["ground"] = weights.ground * _ground_term(model, prediction, batch, ratio, config)
        terms["total"] = terms["total"] + terms["ground"]
    return terms


def _ground_term(
    model: FeatDepthModel, prediction: Prediction, batch: FrameBatch, ratio: Tensor, config: TrainConfig
) -> Tensor:
    """Return the term of `ground` for the finest depth of every target."""
    count = len(prediction.targets)
    disparity = prediction.disparities[0].float()
    depth = depth_from_disparity(disparity, model.info.min_depth, model.info.max_depth)
    depth_m = depth * (config.model.metres_per_unit * ratio.repeat_interleave(count))[:, None, None, None]
    shrunk = disparity.shape[-1] / batch.images.shape[-1]
    K = scaled_intrinsics(_intrinsics(batch.intrinsics), shrunk, shrunk).repeat_interleave(count, 0)
    camera = torch.stack((K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2]), 1)
    return ground_term(depth_m, camera, batch.camera_height_m.repeat_interleave(count))


def reconstruction_terms(model: FeatDepthModel, batch: FrameBatch, config: TrainConfig) -> dict[str, Tensor]:
    """Return the weighted terms of the feature net and ``total``, over every frame of the batch."""
    assert isinstance(model, ReferenceModel)
    images = batch.images.flatten(0, 1)
    alone = dataclasses.replace(config.objective, photometric=0.0, features=0.0, smoothness=0.0)
    settings = loss_config(model, alone, 0, False)
    return named_terms(objective({("color", 0, 0): images}, _trained_features(model, images), settings))


def named_terms(by_scale: dict[str, Tensor]) -> dict[str, Tensor]:
    """Sum the terms of `objective` over scales and levels: ``photometric/0``... become ``photometric``."""
    terms: dict[str, Tensor] = {}
    for key, value in by_scale.items():
        if key != "total":
            name = {"feature": "features"}.get(key, key.split("/")[0])
            terms[name] = terms[name] + value if name in terms else value
    return {**terms, "total": by_scale["total"]}


def _trained_features(model: ReferenceModel, images: Tensor) -> dict[Any, Tensor]:
    pyramid = [level.float() for level in model.feature_pyramid(images)]
    maps: dict[Any, Tensor] = {("feature", 0, level): values for level, values in enumerate(pyramid)}
    maps.update({("res_img", 0, s): image.float() for s, image in enumerate(model.reconstruct(pyramid))})
    return maps


def _features(model: FeatDepthModel, inputs: dict[Any, Tensor], config: TrainConfig) -> dict[Any, Tensor]:
    """The maps that the terms compare and regularise, from images without colour augmentation."""
    weights = config.objective
    colours = {key[1]: value for key, value in inputs.items() if key[0] == "color"}
    if weights.regularised and isinstance(model, ReferenceModel):
        # This network is trained, too, so its BatchNorm uses batch statistics also for sources.
        trained = _trained_features(model, colours.pop(0))
        if weights.features > 0:
            gradients = weights.reference
            trained.update(feature_maps(colours, model.features, model, "batch_statistics", gradients))
        return trained
    if weights.features > 0:
        return dict(feature_maps(colours, model.features, model, config.model.feature_statistics))
    return {}


def _motion(prediction: Prediction, target: int, source: int) -> Tensor:
    """Return T_source_target between neighbours from the prediction, which is in order of time."""
    first = min(target, source)
    return pose_matrix(prediction.axisangle[:, first], prediction.translation[:, first], invert=source < target)


def _intrinsics(camera: Tensor) -> Tensor:
    """Convert (B, 4) fx, fy, cx, cy to (B, 3, 3) K."""
    K = torch.zeros(len(camera), 3, 3, device=camera.device)
    K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2] = camera.unbind(1)
    K[:, 2, 2] = 1.0
    return K
