"""One optimiser step: the same for training and, later, for refinement on a running robot."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class StepResult:
    """Attributes: weighted terms and ``total``; norm of the gradient before clipping; whether weights were changed."""

    terms: dict[str, float]
    gradient_norm: float
    applied: bool


def train_step(
    model: nn.Module,
    terms: Callable[[], dict[str, Tensor]],
    optimiser: torch.optim.Optimizer,
    parameters: Sequence[Tensor],
    clip_norm: float = 0.0,
) -> StepResult:
    """Compute ``terms``, take the gradient of ``total`` and step, unless a number is not finite.

    A step whose loss or gradient is not finite leaves weights, optimiser and running statistics as they were.

    Args:
        model: whose buffers are put back when the step is skipped.
        terms: runs the networks and returns scalars, ``total`` among them.
        optimiser: over ``parameters``.
        parameters: that have gradients.
        clip_norm: largest L2 norm of the gradient; 0 for no clipping.
    """
    buffers = [b for b in model.buffers() if b.is_floating_point()]
    before = [b.clone() for b in buffers]
    optimiser.zero_grad(set_to_none=True)
    values = terms()
    values["total"].backward()
    norm = torch.nn.utils.clip_grad_norm_(parameters, clip_norm if clip_norm > 0 else math.inf)
    names = list(values)
    numbers = torch.stack([*(values[n].detach().float() for n in names), norm.detach().float()]).tolist()
    result = dict(zip(names, numbers[:-1], strict=True))
    finite = math.isfinite(result["total"]) and math.isfinite(numbers[-1])
    if finite:
        optimiser.step()
    else:
        for buffer, old in zip(buffers, before, strict=True):
            buffer.copy_(old)
    optimiser.zero_grad(set_to_none=True)
    return StepResult(result, numbers[-1], finite)
