"""From a configuration to the networks a run starts with, and their optimiser."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from featdepth_ros.errors import CheckpointError, ConfigError
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.build import architectures, build_model
from featdepth_ros.models.compact import CompactModel, load_imagenet_encoder
from featdepth_ros.models.info import ModelInfo, ScaleKind
from featdepth_ros.models.initial import load_feature_net, load_imagenet_resnets
from featdepth_ros.models.lite0 import SameConv2d
from featdepth_training.config import ModelConfig, OptimiserConfig, TrainConfig

#: Depth in network units that an untrained disparity head says.
FIRST_DEPTH = 6.0


def model_info(config: ModelConfig, scale_kind: ScaleKind = "metric") -> ModelInfo:
    """What the weights of a run say of themselves. Depth that truth supervised is metric for the canonical camera."""
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


def start_model(config: TrainConfig, finetune: str | None = None) -> FeatDepthModel:
    """Build the networks with their first weights, fp32, CPU. Draws from torch's global generator.

    Args:
        config: ``model.initial`` says where the encoder's weights come from.
        finetune: weights file (or name of a model that ships) to start from instead.

    Raises:
        ConfigError: unknown architecture.
        CheckpointError: the weights do not fit.
        MissingDependencyError: ImageNet weights are not installed.
    """
    if config.model.architecture not in architectures():
        raise ConfigError(
            f"model.architecture is '{config.model.architecture}'; expected one of {', '.join(architectures())}"
        )
    metric = config.objective.supervised or (config.objective.selfsupervised and config.data.sequence.stereo)
    model = build_model(config.model.architecture, model_info(config.model, "metric" if metric else "relative"))
    initial = finetune or config.model.initial
    if initial == "imagenet":
        _from_imagenet(model, config.model)
    elif initial != "none":
        _start_from(model, initial)
    if initial in ("imagenet", "none"):
        _first_disparity(model)
    if isinstance(model, CompactModel):
        _freeze(model, config.model.frozen_blocks)
    elif hasattr(model, "extractor"):
        _feature_net(model, config, given=initial not in ("imagenet", "none"))
    return model


def _from_imagenet(model: FeatDepthModel, config: ModelConfig) -> None:
    if isinstance(model, CompactModel):
        load_imagenet_encoder(model)
        return
    if not config.resnet_file:
        raise ConfigError(
            f"model.initial is imagenet, and {config.architecture} starts from a ResNet: name a file in torchvision's "
            "format with model.resnet_file=PATH (and model.pose_resnet_file=PATH), or set model.initial=none"
        )
    has_pose = "pose" in model.nets and config.pose_resnet_file
    load_imagenet_resnets(model, config.resnet_file, config.pose_resnet_file if has_pose else None)


def _feature_net(model: FeatDepthModel, config: TrainConfig, given: bool) -> None:
    """The feature net of ``mono_fm`` is never trained: it comes from an autoencoder or with the weights."""
    if config.model.feature_net:
        load_feature_net(model, config.model.feature_net)
    elif config.objective.features > 0 and not given:
        raise ConfigError(
            f"objective.features compares the maps of a trained feature net, and {config.model.architecture} starts "
            "without one: train an autoencoder first (recipe kitti_autoencoder) and name its weights with "
            "model.feature_net=PATH, or start from weights that hold one with --finetune"
        )
    model.extractor.requires_grad_(False)  # type: ignore[operator, union-attr]


def _start_from(model: FeatDepthModel, weights: str) -> None:
    from featdepth_ros.models.checkpoints import load_model
    from featdepth_ros.resources import weights_file

    path: Path = weights_file(weights)
    source = load_model(str(path))
    if source.info.architecture != model.info.architecture:
        raise CheckpointError(
            f"{path} holds a {source.info.architecture} model; this run trains {model.info.architecture}"
        )
    model.load_state_dict(source.state_dict())


def _first_disparity(model: FeatDepthModel) -> None:
    """Let every disparity head begin at `FIRST_DEPTH`; a sigmoid of a half would be 20 cm."""
    low, high = 1 / model.info.max_depth, 1 / model.info.min_depth
    disparity = (1 / FIRST_DEPTH - low) / (high - low)
    if isinstance(model, CompactModel):
        for head in model.decoder.head:
            assert isinstance(head, nn.Conv2d) and head.bias is not None
            nn.init.constant_(head.bias, math.log(disparity / (1 - disparity)))
            nn.init.normal_(head.weight, std=0.01)


def _freeze(model: CompactModel, blocks: int) -> None:
    if blocks <= 0:
        return
    parts: list[nn.Module] = [model.encoder._conv_stem, model.encoder._bn0, *model.encoder._blocks[:blocks]]
    for part in parts:
        part.requires_grad_(False)


class FullPrecisionConv2d(SameConv2d):
    """A depthwise convolution that stays in fp32 under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H / stride, W / stride)."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def keep_depthwise_in_fp32(model: FeatDepthModel) -> None:
    """Take depthwise convolutions out of autocast, for processors: their bf16 gradients are 4 times slower than fp32.

    (Measured with oneDNN in torch 2.13; all other convolutions gain from bf16.) Weights and keys stay as they are.
    """
    for module in model.modules():
        if type(module) is SameConv2d and module.groups > 1:
            module.__class__ = FullPrecisionConv2d


def training_mode(model: FeatDepthModel, config: ModelConfig | None = None) -> None:
    """Put the model into training mode, frozen parts into evaluation mode (their running statistics stay)."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
            module.eval()
    decoder = getattr(model, "DepthDecoder", None)
    if config is not None and not config.dropout and isinstance(decoder, nn.Module):
        decoder.eval()  # holds no BatchNorm: dropout is all that evaluation mode changes


def build_optimiser(
    model: FeatDepthModel, config: OptimiserConfig
) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    """Return the optimiser (each group carries its ``base_lr``) and the parameters it moves.

    Encoder and pose head have rates of their own; norms and biases are not decayed.
    """
    factors = {"encoder": config.encoder_lr_factor, "pose_head": config.pose_lr_factor}
    parts = {"DepthEncoder": "encoder", "PoseEncoder": "encoder"}
    groups: dict[tuple[str, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = name.split(".")[0]
            groups.setdefault((parts.get(part, part), parameter.ndim > 1), []).append(parameter)
    if not groups:
        raise ConfigError("nothing is left to train: every parameter is frozen")
    described = []
    for (part, decayed), parameters in sorted(groups.items(), key=lambda item: item[0]):
        rate = config.lr * factors.get(part, 1.0)
        described.append(
            {
                "params": parameters,
                "lr": rate,
                "base_lr": rate,
                "weight_decay": config.weight_decay if decayed else 0.0,
            }
        )
    kind = torch.optim.AdamW if config.kind == "adamw" else torch.optim.Adam
    optimiser = kind(described, lr=config.lr, betas=config.betas)
    return optimiser, [p for group in described for p in group["params"]]  # type: ignore[attr-defined]
