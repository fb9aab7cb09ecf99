"""One optimiser step, common to training, refinement on recordings, and refinement on a running robot."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from featdepth_training.processes.distributed import Processes
from featdepth_training.processes.signals import hold

ALONE = Processes()


@dataclass(frozen=True)
class StepResult:
    """Weighted terms with their ``total``, norm of the gradient before clipping, and whether weights were changed."""

    terms: dict[str, float]
    gradient_norm: float
    applied: bool


def train_step(
    model: nn.Module,
    micro_batches: Sequence[Callable[[], dict[str, Tensor]]],
    optimiser: torch.optim.Optimizer,
    parameters: Sequence[Tensor],
    clip_norm: float = 0.0,
    processes: Processes = ALONE,
) -> StepResult:
    """Step with the gradient of the mean ``total`` over all micro-batches, unless a value is not finite.

    A step whose loss or gradient is not finite, and one that is interrupted, leaves weights, optimiser and running
    statistics as they were. Once the weights move, a second signal waits for `signals.release`. Running statistics move
    by the mean over the micro-batches of what each alone would have moved them. So one process with two micro-batches
    and two processes with one each do the same. Counters move as one micro-batch moves them.

    Args:
        model: model whose buffers are restored when the step is skipped.
        micro_batches: functions that run the networks and return scalars with the same names, including ``total``.
        optimiser: optimiser of ``parameters``.
        parameters: parameters with gradients.
        clip_norm: largest L2 norm of the gradient; 0 for no clipping.
        processes: processes that share the step.
    """
    buffers = [b for b in model.buffers() if b.is_floating_point()]
    counters = [b for b in model.buffers() if not b.is_floating_point()]
    before, counted = [b.clone() for b in buffers], [c.clone() for c in counters]
    moved = [torch.zeros_like(b) for b in buffers] if len(micro_batches) > 1 else []
    optimiser.zero_grad(set_to_none=True)
    try:
        micro_terms: list[dict[str, Tensor]] = []
        for number, terms in enumerate(micro_batches):
            if number:
                _put(buffers, before)
                _put(counters, counted)
            values = terms()
            if values["total"].requires_grad:  # else no sample of it concerns the trained parts
                (values["total"] / len(micro_batches)).backward()
            micro_terms.append({name: value.detach().float() for name, value in values.items()})
            for total, buffer in zip(moved, buffers, strict=False):
                total.add_(buffer, alpha=1 / len(micro_batches))
        _put(buffers, moved or buffers)
        names = list(micro_terms[0])
        numbers = torch.stack([torch.stack([values[name] for values in micro_terms]).mean() for name in names])
        if processes.count > 1:
            _share(numbers, buffers, parameters, processes)
        norm = torch.nn.utils.clip_grad_norm_(parameters, clip_norm if clip_norm > 0 else math.inf)
        listed = torch.cat((numbers, norm.detach().float().reshape(1))).tolist()
        result = dict(zip(names, listed[:-1], strict=True))
        finite = math.isfinite(result["total"]) and math.isfinite(listed[-1])
    except BaseException:
        _put(buffers, before)
        _put(counters, counted)
        optimiser.zero_grad(set_to_none=True)
        raise
    hold()
    if finite:
        optimiser.step()
    else:
        _put(buffers, before)
        _put(counters, counted)
    optimiser.zero_grad(set_to_none=True)
    return StepResult(result, listed[-1], finite)


def _put(buffers: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for buffer, value in zip(buffers, values, strict=True):
        if buffer is not value:
            buffer.copy_(value)


def _share(numbers: Tensor, buffers: Sequence[Tensor], parameters: Sequence[Tensor], processes: Processes) -> None:
    """Average terms, running statistics and gradients over the processes, in place.

    A parameter without a gradient in every process keeps none, as it would in one process.
    """
    used = torch.tensor([float(p.grad is not None) for p in parameters], device=numbers.device)
    processes.mean_([numbers, used, *buffers])
    shared = [parameter for parameter, share in zip(parameters, used.tolist(), strict=True) if share > 0]
    for parameter in shared:  # every process must send the same tensors
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    processes.mean_([p.grad for p in shared if p.grad is not None])
