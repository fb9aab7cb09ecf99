"""Builds the initial networks of a run from its configuration, and sets their training mode."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from featdepth_ros.errors import CheckpointError, ConfigError, nearest_name
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.build import build_model
from featdepth_ros.models.checkpoints import model_from_weights
from featdepth_ros.models.compact import CompactModel, load_imagenet_encoder
from featdepth_ros.models.info import ModelInfo, ScaleKind
from featdepth_ros.models.initial import load_feature_net, load_imagenet_resnets
from featdepth_ros.models.motion_head import use_plain_fit
from featdepth_ros.models.presets import preset_info
from featdepth_ros.models.weights_io import read_weights
from featdepth_ros.resources import weights_file
from featdepth_training.config.schema import ModelConfig, TrainConfig

#: Initial depth of an untrained disparity head, network units.
FIRST_DEPTH = 6.0


def model_info(config: ModelConfig, scale_kind: ScaleKind = "metric") -> ModelInfo:
    """Return the description of a run's weights. With true depth, their scale is metric for the canonical camera."""
    return ModelInfo(
        name=config.name,
        architecture=config.architecture,
        min_depth=config.min_depth,
        max_depth=config.max_depth,
        input_size=config.input_size,
        pose_input_size=config.input_size if config.architecture == "compact" else config.pose_size,
        focal=config.focal,
        scale_kind=scale_kind,
        scale_factor=config.metres_per_unit,
        licence=config.licence,
    )


def start_model(config: TrainConfig, finetune: str | None = None, resumed: bool = False) -> FeatDepthModel:
    """Build the networks with their initial weights, fp32, on the CPU, using torch's global random generator.

    Args:
        config: configuration; its ``model.initial`` is the source of the encoder's weights.
        finetune: weights file (or name of a model that ships) to start from instead.
        resumed: whether a checkpoint's weights follow, so that no initial weights are read.

    Raises:
        ConfigError: initial weights are missing or contradict the configuration.
        CheckpointError: the weights do not fit.
        MissingDependencyError: ImageNet weights are not installed.
    """
    metric = config.objective.supervised or (config.objective.selfsupervised and config.data.sequence.stereo)
    model = build_model(config.model.architecture, model_info(config.model, "metric" if metric else "relative"))
    use_plain_fit(model)
    initial = "none" if resumed else finetune or config.model.initial
    if initial == "imagenet":
        _from_imagenet(model, config.model)
    elif initial != "none":
        _start_from(model, initial, config.model.preset)
    if config.model.norm_momentum > 0:
        _set_norm_momentum(model, config.model.norm_momentum)
    if initial in ("imagenet", "none"):
        _first_disparity(model)
    if isinstance(model, CompactModel):
        _freeze(model, config.model.frozen_blocks, random=initial == "none" and not resumed)
    elif hasattr(model, "extractor"):  # never trained
        if not resumed:
            _feature_net(model, config, given=initial not in ("imagenet", "none"))
        model.extractor.requires_grad_(False)
    _train_only(model, config.model.trained)
    return model


def _from_imagenet(model: FeatDepthModel, config: ModelConfig) -> None:
    if isinstance(model, CompactModel):
        load_imagenet_encoder(model)
        return
    if not config.resnet_file:
        raise ConfigError(
            f"model.initial is imagenet, and {config.architecture} starts from a ResNet: name a file in torchvision's "
            "format with model.resnet_file=PATH (and model.pose_resnet_file=PATH), go on from weights with --finetune, "
            "or set model.initial=none"
        )
    has_pose = "pose" in model.nets and config.pose_resnet_file
    load_imagenet_resnets(model, config.resnet_file, config.pose_resnet_file if has_pose else None)


def _feature_net(model: FeatDepthModel, config: TrainConfig, given: bool) -> None:
    """Load the feature network of ``mono_fm`` from an autoencoder, unless the weights include it."""
    if config.model.feature_net:
        load_feature_net(model, config.model.feature_net)
    elif config.objective.features > 0 and not given:
        raise ConfigError(
            f"objective.features needs a trained feature net, and {config.model.architecture} starts without one: "
            "train an autoencoder first (recipe kitti_autoencoder) and name its weights with "
            "model.feature_net=PATH, or start from weights that hold one with --finetune"
        )


def _start_from(model: FeatDepthModel, weights: str, preset: str) -> None:
    """Load the weights of a file after a check that its description matches the run."""
    path = weights_file(weights)
    stored = read_weights(path)
    if stored.info is None:
        # A published file has no description, so that of its preset is used, or else the run's own.
        stored = dataclasses.replace(stored, info=preset_info(preset) if preset else model.info)
    source = model_from_weights(stored)
    if source.info.architecture != model.info.architecture:
        raise CheckpointError(
            f"{path} holds a {source.info.architecture} model; this run trains {model.info.architecture}. Set "
            f"model.architecture={source.info.architecture}, or name other weights"
        )
    lacking = [net for net in model.nets if net not in source.nets]
    if lacking:
        raise CheckpointError(
            f"{path} ({source.info.architecture}) holds no {' and no '.join(lacking)} net, which this run trains; it "
            f"holds: {', '.join(source.nets)}"
        )
    _same_units(source.info, model.info, path)
    model.load_state_dict(source.state_dict())
    licence = source.info.licence
    if licence not in ("unknown", model.info.licence):
        # The same recipe continued has said its terms already, and also what it started from.
        if not licence.startswith(f"{model.info.licence};"):
            licence = f"{model.info.licence}; started from '{source.info.name}': {licence}"
        model.info = model.info.with_(licence=licence)


def _same_units(source: ModelInfo, wanted: ModelInfo, path: Path) -> None:
    """Check that the disparities of the weights mean the same depths as in the run.

    Raises:
        ConfigError: depth range or unit differ.
    """
    if (source.min_depth, source.max_depth) != (wanted.min_depth, wanted.max_depth):
        raise ConfigError(
            f"{path} maps disparities to depths of {source.min_depth} to {source.max_depth}, this run to "
            f"{wanted.min_depth} to {wanted.max_depth}; set model.min_depth={source.min_depth} "
            f"model.max_depth={source.max_depth}"
        )
    both_metric = source.scale_kind == wanted.scale_kind == "metric"
    if both_metric and source.scale_factor != wanted.scale_factor:
        raise ConfigError(
            f"a network unit is {source.scale_factor:g} m in {path} and {wanted.scale_factor:g} m in this run; set "
            f"model.metres_per_unit={source.scale_factor:g}"
        )


def _set_norm_momentum(model: FeatDepthModel, momentum: float) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = momentum


def _first_disparity(model: FeatDepthModel) -> None:
    """Initialise every disparity head to `FIRST_DEPTH`; a sigmoid of a half would be 20 cm."""
    low, high = 1 / model.info.max_depth, 1 / model.info.min_depth
    disparity = (1 / FIRST_DEPTH - low) / (high - low)
    if isinstance(model, CompactModel):
        for head in model.decoder.head:
            assert isinstance(head, nn.Conv2d) and head.bias is not None
            nn.init.constant_(head.bias, math.log(disparity / (1 - disparity)))
            nn.init.normal_(head.weight, std=0.01)


def _freeze(model: CompactModel, blocks: int, random: bool) -> None:
    if blocks <= 0:
        return
    if random:
        raise ConfigError(
            f"model.frozen_blocks={blocks} keeps the encoder's first weights, and with model.initial=none they are "
            "random; set model.initial=imagenet, start from weights with --finetune, or set model.frozen_blocks=0 "
            "(and objective.features=0)"
        )
    parts: list[nn.Module] = [model.encoder._conv_stem, model.encoder._bn0, *model.encoder._blocks[:blocks]]
    for part in parts:
        part.requires_grad_(False)


def _part(model: FeatDepthModel, name: str, setting: str) -> nn.Module:
    """Return the part of the model that a setting names.

    Raises:
        ConfigError: the model has no such part.
    """
    parts = dict(model.named_children())
    if name not in parts:
        raise ConfigError(
            f"{setting} holds '{name}', which is not a part of the model{nearest_name(name, list(parts))}"
        )
    return parts[name]


def _train_only(model: FeatDepthModel, names: Sequence[str]) -> None:
    trained = [_part(model, name, "model.trained") for name in names]
    for part in model.children():
        if trained and part not in trained:
            part.requires_grad_(False)


def training_mode(model: FeatDepthModel, config: ModelConfig | None = None) -> None:
    """Set the model to training mode, and its frozen parts to eval mode, which keeps their running statistics."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
            module.eval()
    for name in config.frozen_statistics if config is not None else ():
        for module in _part(model, name, "model.frozen_statistics").modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    decoder = getattr(model, "DepthDecoder", None)
    if isinstance(decoder, nn.Module):
        frozen = not any(p.requires_grad for p in decoder.parameters())
        if frozen or (config is not None and not config.dropout):
            decoder.eval()  # it has no BatchNorm, so eval mode changes only dropout
