"""The optimiser of a run: which parameters it moves, at which rate, and how the rate goes over the run."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from featdepth_ros.errors import ConfigError
from featdepth_ros.models.base import FeatDepthModel
from featdepth_training.config.schema import OptimiserConfig, ScheduleConfig


def build_optimiser(model: FeatDepthModel, config: OptimiserConfig) -> tuple[torch.optim.Optimizer, list[Tensor]]:
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
    # Not the fused kernel: on processors it pairs values by their address in memory, whatever their layout.
    optimiser = kind(described, lr=config.lr, betas=config.betas)
    return optimiser, [p for group in described for p in group["params"]]  # type: ignore[attr-defined]


def rate_factor(step: int, total_steps: int, config: ScheduleConfig) -> float:
    """Return the factor on every base learning rate at optimiser step ``step`` (from 0); no state is needed to resume.

    Warm-up rises linearly from ``warmup_ratio`` and multiplies the schedule proper, which runs over the whole of
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
