"""Computes gradients in the forward pass, so that no intermediate tensors of the loss are stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _ForwardGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
        needed = ctx.needs_input_grad[1:]
        leaves = [
            None if x is None else x.detach().requires_grad_(need) for x, need in zip(inputs, needed, strict=True)
        ]
        with torch.enable_grad():
            value = function(*leaves)
            inputs_with_gradient = [leaf for leaf in leaves if leaf is not None and leaf.requires_grad]
            gradients = (
                torch.autograd.grad(value, inputs_with_gradient, allow_unused=True) if value.requires_grad else ()
            )
        remaining = iter(gradients or [None] * len(inputs_with_gradient))
        ctx.save_for_backward(*(next(remaining) if need else None for need in needed))
        return value.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(None if saved is None else saved * gradient for saved in ctx.saved_tensors)


def with_forward_gradients(function: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
    """Return the scalar ``function(*inputs)`` and compute its gradients at once.

    The intermediate tensors of a warp and its loss are much larger than the gradients of a few maps and motions. The
    backward pass of the function runs while they are still in the cache.

    Args:
        function: function of the inputs, with first derivatives only. Its other tensors must not require gradients.
        inputs: tensors, or None for optional ones.
    """
    if not torch.is_grad_enabled() or not any(x is not None and x.requires_grad for x in inputs):
        return function(*inputs)
    result: Tensor = _ForwardGradients.apply(function, *inputs)  # type: ignore[no-untyped-call]
    return result
