"""What every refinement shares, on recordings and on a running robot: the networks it starts with, and its steps."""

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
from featdepth_ros.resources import weights_file
from featdepth_training.config.schema import TrainConfig
from featdepth_training.data.batch import FrameBatch
from featdepth_training.data.samples import ClipDataset
from featdepth_training.data.source import Source
from featdepth_training.engine.loop import TrainingLoop
from featdepth_training.objectives.supervised import log_depth, weighted_mean
from featdepth_training.objectives.terms import training_terms

#: Weighted terms of a model, by name, that do not depend on the batch.
ExtraTerms = Callable[[FeatDepthModel], dict[str, Tensor]]


def name_of(weights: FeatDepthModel | str | Path, model: FeatDepthModel) -> str:
    """What weights are called in words: the name of a model, or of its file."""
    return model.info.name if isinstance(weights, FeatDepthModel) else Path(weights).name


def start_model(
    weights: FeatDepthModel | str | Path, preset: str | None = None, stereo: bool = False
) -> FeatDepthModel:
    """Load weights that can be refined; a model that is given is copied.

    Args:
        weights: a model, a file, or the name of a model that ships.
        preset: of published weights, see `load_model`.
        stereo: a partner takes part.

    Raises:
        CheckpointError: the weights cannot be read, or lack a net.
        ConfigError: stereo with weights of relative scale.
    """
    if isinstance(weights, FeatDepthModel):
        model = copy.deepcopy(weights)
    else:
        model = load_model(weights_file(str(weights)), preset=preset)
    for net in ("depth", "pose"):
        if net not in model.nets:
            raise CheckpointError(
                f"the weights '{name_of(weights, model)}' ({model.info.architecture}) hold no {net} net; refinement "
                "trains depth and pose together: take weights that hold both"
            )
    if stereo and model.info.scale_kind != "metric":
        raise ConfigError(
            f"the weights '{name_of(weights, model)}' are of relative scale, and a stereo partner tells metres: name "
            "what published weights were trained on with --preset, or refine without --stereo"
        )
    return model


def give_focal(model: FeatDepthModel, camera: Sequence[float] | NDArray[np.float64], size: tuple[int, int]) -> None:
    """Let the camera at hand count as the one of weights that say none: there is none to compensate for.

    Args:
        model: whose facts are completed.
        camera: (4,) fx, fy, cx, cy, pixels.
        size: (height, width) of its pictures, pixels.
    """
    if model.info.focal is None:
        focal = (float(camera[0]) / size[1], float(camera[1]) / size[0])
        model.info = model.info.with_(focal=focal, input_size=size)


def refined_info(info: ModelInfo, note: str) -> ModelInfo:
    """What refined weights say of themselves: how they came about, and that who owns the frames may have a say."""
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
    """The loop that refines ``model``; the net that features come from is taken out of training.

    Args:
        model: to be trained, on ``device``.
        config: by `train_config`.
        sources: clips to learn from.
        device: of the networks.
        known: frozen weights, in evaluation mode, whose scale is kept; None: nothing holds it.
        anchor: weight of the term that keeps it.
        extra: further weighted terms, by name; what they draw they draw from torch's global generator.
        hold: weight of the term that keeps the depth of ``known`` where nothing was matched.
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
    """The terms of training, those that keep scale and depth of ``known``, and what is added to them."""
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
    """Return by how much the scale of depth has moved: mean change of log depth (a scalar).

    Of each image the middle half of the changes counts, so that what is to be learnt, a wall that moves or a sky that
    recedes, is free: one number a batch is held, no map.

    Args:
        disparity: (B, 1, h, w) sigmoid maps of the network at hand.
        known: those of the network before.
        model: for its depth range.
    """
    change = (log_depth(disparity, model.info) - log_depth(known, model.info)).flatten(1)
    low, high = torch.quantile(change.detach(), torch.tensor([0.25, 0.75], device=change.device), dim=1, keepdim=True)
    middle = ((change >= low) & (change <= high)).float()
    bend: Tensor = ((change * middle).sum(1) / middle.sum(1)).mean()
    return bend


def unmatched_change(disparity: Tensor, known: Tensor, matched: Tensor, model: FeatDepthModel) -> Tensor:
    """Return the mean absolute change of log depth (a scalar) where matching found nothing, in frames where it did.

    Matching is silent on flat ground, sky, what drives along and in the direction of travel. The photometric loss is as
    low there for wrong depth as for right. Without this, ground went along with what was learnt beside it.

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
    """Take all that the feature-metric term's map comes from out of training, whatever the architecture."""
    if "features" not in model.nets:
        return
    device = next(model.parameters()).device
    with torch.enable_grad():
        probe = model.eval().features(torch.rand(1, 3, 64, 64, device=device)).sum()
    parameters = [p for p in model.parameters() if p.requires_grad]
    for parameter, gradient in zip(parameters, torch.autograd.grad(probe, parameters, allow_unused=True), strict=True):
        if gradient is not None:
            parameter.requires_grad_(False)
