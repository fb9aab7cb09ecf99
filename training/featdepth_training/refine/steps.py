"""Initial networks and training loop, common to refinement on recordings and on a running robot."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from featdepth_ros.errors import CheckpointError, ConfigError
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.checkpoints import load_model
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.models.motion_head import use_plain_fit
from featdepth_ros.resources import weights_file
from featdepth_training.config.schema import TrainConfig
from featdepth_training.data.batch import FrameBatch
from featdepth_training.data.samples import ClipDataset
from featdepth_training.data.source import Source
from featdepth_training.engine.loop import TrainingLoop
from featdepth_training.objectives.supervised import log_depth, weighted_mean
from featdepth_training.objectives.terms import training_terms

#: Returns weighted terms of a model, by name, that do not depend on the batch.
ExtraTerms = Callable[[FeatDepthModel], dict[str, Tensor]]


def name_of(weights: FeatDepthModel | str | Path, model: FeatDepthModel) -> str:
    """Return the name of weights in messages: the name of the model, or of its file."""
    return model.info.name if isinstance(weights, FeatDepthModel) else Path(weights).name


def start_model(
    weights: FeatDepthModel | str | Path, preset: str | None = None, stereo: bool = False
) -> FeatDepthModel:
    """Load weights for a refinement; a given model is copied.

    Args:
        weights: a model, a file, or the name of a model that ships.
        preset: preset of published weights, see `load_model`.
        stereo: whether a stereo partner is used.

    Raises:
        CheckpointError: the weights cannot be read, or lack a network.
        ConfigError: stereo is used with weights of relative scale.
    """
    if isinstance(weights, FeatDepthModel):
        model = copy.deepcopy(weights)
    else:
        model = load_model(weights_file(str(weights)), preset=preset)
    use_plain_fit(model)
    for net in ("depth", "pose"):
        if net not in model.nets:
            raise CheckpointError(
                f"the weights '{name_of(weights, model)}' ({model.info.architecture}) hold no {net} net; refinement "
                "trains depth and pose together: take weights that hold both"
            )
    if stereo and model.info.scale_kind != "metric":
        raise ConfigError(
            f"the weights '{name_of(weights, model)}' have a relative scale, and a stereo partner needs metres: "
            "name the training dataset of published weights with --preset, or refine without --stereo"
        )
    return model


def give_focal(model: FeatDepthModel, camera: Sequence[float] | NDArray[np.float64], size: tuple[int, int]) -> None:
    """Set the focal length of the current camera in weights without one, so that none is compensated.

    Args:
        model: model whose description is completed.
        camera: (4,) fx, fy, cx, cy, pixels.
        size: (height, width) of its images, pixels.
    """
    if model.info.focal is None:
        focal = (float(camera[0]) / size[1], float(camera[1]) / size[0])
        model.info = model.info.with_(focal=focal, input_size=size)


def refined_info(info: ModelInfo, note: str) -> ModelInfo:
    """Return the description of refined weights, with their origin and a note on the rights to the frames."""
    terms = "+ data terms"
    licence = info.licence if info.licence.endswith(terms) else f"{info.licence} {terms}"
    return info.with_(training="; ".join(filter(None, (info.training, note))), licence=licence)


def refinement_loop(
    model: FeatDepthModel,
    config: TrainConfig,
    sources: Sequence[Source],
    device: torch.device,
    known: FeatDepthModel | None = None,
    anchor: float = 0.0,
    extra: ExtraTerms | None = None,
    hold: float = 0.0,
) -> TrainingLoop:
    """Return the loop that refines ``model``; its feature network is frozen.

    Args:
        model: model to train, on ``device``.
        config: configuration from `train_config`.
        sources: training clips.
        device: device of the networks.
        known: frozen model in eval mode whose scale is kept; None: the scale is free.
        anchor: weight of the term that keeps the scale.
        extra: further weighted terms, by name; they use torch's global random generator.
        hold: weight of the term that keeps the depth of ``known`` at unmatched pixels.
    """
    freeze_feature_net(model)
    dataset = ClipDataset(sources, config.data.sequence, config.data.augment, config.seed)
    return TrainingLoop(model, config, dataset, partial(_terms, model, config, known, anchor, extra, hold), device)


def _terms(
    model: FeatDepthModel,
    config: TrainConfig,
    known: FeatDepthModel | None,
    anchor: float,
    extra: ExtraTerms | None,
    hold: float,
    batch: FrameBatch,
    seen: Tensor,
) -> dict[str, Tensor]:
    """Return the terms of training, the terms that keep scale and depth of ``known``, and the ``extra`` terms."""
    terms, prediction = training_terms(model, batch, seen, config)
    added: dict[str, Tensor] = {}
    if known is not None and prediction is not None:
        with torch.no_grad():
            before = known.depth(seen[:, list(prediction.targets)].flatten(0, 1))[0]
        added["anchor"] = anchor * log_scale_change(prediction.disparities[0], before, model).square()
        if hold > 0:
            matched = batch.pseudo_depth[:, list(prediction.targets)].flatten(0, 1)
            added["hold"] = hold * unmatched_change(prediction.disparities[0], before, matched, model)
    if extra is not None:
        added |= extra(model)
    return {**terms, **added, "total": sum(added.values(), terms["total"])}


def log_scale_change(disparity: Tensor, known: Tensor, model: FeatDepthModel) -> Tensor:
    """Return the change of the scale of depth: the mean change of log depth (a scalar).

    Only the middle half of the changes in each image counts. So local corrections, such as a wall that moves or a sky
    that recedes, stay possible.

    Args:
        disparity: (B, 1, h, w) sigmoid maps of the trained network.
        known: sigmoid maps of the network before.
        model: model with the depth range.
    """
    change = (log_depth(disparity, model.info) - log_depth(known, model.info)).flatten(1)
    low, high = torch.quantile(change.detach(), torch.tensor([0.25, 0.75], device=change.device), dim=1, keepdim=True)
    middle = ((change >= low) & (change <= high)).float()
    bend: Tensor = ((change * middle).sum(1) / middle.sum(1)).mean()
    return bend


def unmatched_change(disparity: Tensor, known: Tensor, matched: Tensor, model: FeatDepthModel) -> Tensor:
    """Return the mean absolute change of log depth (a scalar) at unmatched pixels of matched frames.

    Matching finds nothing on flat ground, sky, vehicles that drive along, and in the direction of travel. There the
    photometric loss is as low for wrong depth as for right one. Without this term, the depth of the ground changed with
    that of matched pixels.

    Args:
        disparity: (B, 1, h, w) sigmoid maps of the network at hand.
        known: those of the network before.
        matched: (B, 1, H, W) depth, NaN: unknown.
        model: for its depth range.
    """
    is_matched = F.interpolate(torch.isfinite(matched).float(), disparity.shape[-2:], mode="area") > 0
    silent = (~is_matched & is_matched.flatten(1).any(1).view(-1, 1, 1, 1)).float()
    return weighted_mean((log_depth(disparity, model.info) - log_depth(known, model.info)).abs(), silent)


def freeze_feature_net(model: FeatDepthModel) -> None:
    """Freeze all layers that compute the maps of the feature-metric term, for any architecture."""
    if "features" not in model.nets:
        return
    device = next(model.parameters()).device
    with torch.enable_grad():
        probe = model.eval().features(torch.rand(1, 3, 64, 64, device=device)).sum()
    parameters = [p for p in model.parameters() if p.requires_grad]
    for parameter, gradient in zip(parameters, torch.autograd.grad(probe, parameters, allow_unused=True), strict=True):
        if gradient is not None:
            parameter.requires_grad_(False)
