"""The optimiser of a run, and which parameters it moves at which rate."""

from __future__ import annotations

import torch
from torch import Tensor

from featdepth_ros.errors import ConfigError
from featdepth_ros.models.base import FeatDepthModel
from featdepth_training.config.schema import OptimiserConfig


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
