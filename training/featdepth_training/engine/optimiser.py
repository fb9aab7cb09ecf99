"""The optimiser of a run: its parameter groups, and its learning-rate schedule."""

from __future__ import annotations

import inspect
import math
from typing import Any

import torch
from torch import Tensor, nn

from featdepth_ros.errors import ConfigError, nearest_name
from featdepth_ros.models.base import FeatDepthModel
from featdepth_training.config.optimisers import optimiser_class
from featdepth_training.config.schema import OptimiserConfig, ScheduleConfig


def build_optimiser(
    model: FeatDepthModel, config: OptimiserConfig, cameras: nn.Module | None = None
) -> tuple[torch.optim.Optimizer, list[Tensor]]:
    """Return the optimiser (each group has its ``base_lr``) and its parameters.

    Encoder, pose head and learned cameras have separate learning rates. Norms, biases and cameras have no weight decay.
    """
    factors = {"encoder": config.encoder_lr_factor, "pose_head": config.pose_lr_factor}
    parts = {"DepthEncoder": "encoder", "PoseEncoder": "encoder"}
    groups: dict[tuple[str, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = name.split(".")[0]
            groups.setdefault((parts.get(part, part), parameter.ndim > 1), []).append(parameter)
    if not groups and cameras is None:
        raise ConfigError(
            "every parameter is frozen, so there is nothing to train; lower model.frozen_blocks, or name other parts "
            "in model.trained"
        )
    described: list[dict[str, Any]] = []
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
    if cameras is not None:
        rate = config.camera_lr
        described.append({"params": list(cameras.parameters()), "lr": rate, "base_lr": rate, "weight_decay": 0.0})
    kind = optimiser_class(config.kind)
    accepted = inspect.signature(kind).parameters
    given = {"lr": config.lr, "betas": config.betas, "momentum": config.momentum}
    arguments = {**{name: value for name, value in given.items() if name in accepted}, **config.options}
    unknown = [name for name in arguments if name not in accepted]
    if unknown:
        raise ConfigError(f"optimiser.options holds '{unknown[0]}'{nearest_name(unknown[0], accepted)}")
    if "weight_decay" not in accepted:
        raise ConfigError(f"optimiser.kind is '{config.kind}', which takes no weight decay; choose another one")
    try:
        # The fused kernel is not used, because on a CPU it ignores the memory layout of the tensors.
        optimiser = kind(described, **arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"torch.optim.{kind.__name__} rejects the settings in optimiser: {error}") from error
    return optimiser, [p for group in described for p in group["params"]]


def rate_factor(step: int, total_steps: int, config: ScheduleConfig) -> float:
    """Return the factor on every base learning rate at optimiser step ``step`` (from 0), which needs no state.

    The warm-up factor rises linearly from ``warmup_ratio`` to 1. It multiplies the schedule, which covers all
    ``total_steps``.
    """
    progress = min(step / max(total_steps, 1), 1.0)
    if config.kind == "cosine":
        factor = config.final_ratio + (1 - config.final_ratio) * 0.5 * (1 + math.cos(math.pi * progress))
    elif config.kind == "step":
        factor = config.gamma ** sum(progress >= milestone for milestone in config.milestones)
    else:
        factor = 1.0
    if step < config.warmup_steps:
        factor *= config.warmup_ratio + (1 - config.warmup_ratio) * step / config.warmup_steps
    return factor
