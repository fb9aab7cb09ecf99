"""Faster operations of the depth decoder, with equal results, fewer operations and less memory in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def conv3x3_of_upsampled(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the reflection-padded 3x3 convolution of ``x`` upsampled by 2 (nearest), without the upsampled map.

    A 3x3 window of the upsampled map has only 2x2 different values of ``x``. The taps that share one depend on whether
    row and column are even. So four 2x2 convolutions of ``x`` give the four kinds of output pixels. They need 4/9 of
    the multiplications, and a quarter of the memory for the input. At the border, the reflected pixel has the same
    value as the border pixel.

    Args:
        x: (B, C, h, w) map.
        weight: (O, C, 3, 3) kernel.
        bias: (O,) bias.

    Returns:
        (B, O, 2 h, 2 w), equal up to rounding.
    """
    rows = _pairs(weight, 2)
    kernels = torch.stack([kernel for row in rows for kernel in _pairs(row, 3)]).to(x.dtype)
    outputs, (height, width) = weight.shape[0], x.shape[-2:]
    repeated = None if bias is None else bias.repeat(4).to(x.dtype)
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    y = F.conv2d(padded, kernels.flatten(0, 1), repeated).unflatten(1, (4, outputs))
    phases = [y[:, 2 * a + b, :, a : a + height, b : b + width] for a in (0, 1) for b in (0, 1)]
    return F.pixel_shuffle(torch.stack(phases, 2).flatten(1, 2), 2)


def transposed_kernel(weight: Tensor) -> Tensor:
    """Return the kernel (C, O, 4, 4) of a transposed convolution, stride 2 and padding 1, for upsampled maps.

    The transposed convolution equals a zero-padded 3x3 convolution with ``weight`` (O, C, 3, 3) of a map upsampled by 2
    (nearest). It needs 4/9 of the multiplications and no upsampled map. Run times of exported graphs execute it fast.
    """
    rows = _doubled(weight, 2)
    return _doubled(rows, 3).transpose(0, 1).contiguous()


def _doubled(kernel: Tensor, axis: int) -> Tensor:
    """Return taps (c, b + c, a + b, a) for a kernel (a, b, c) along ``axis``, as each value occurs twice."""
    a, b, c = kernel.split(1, axis)
    return torch.cat((c, b + c, a + b, a), axis)


def _pairs(weight: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Return taps (a, b + c) for even and (a + b, c) for odd positions, for a kernel (a, b, c) along ``axis``."""
    a, b, c = weight.split(1, axis)
    return torch.cat((a, b + c), axis), torch.cat((a + b, c), axis)


def chained_pool(x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Return the sum x + t1 + ... + tn with t_i = W_i maxpool5x5(t_(i-1)), t_0 = x, (B, C, H, W).

    Args:
        x: (B, C, H, W) map.
        weights: (C, C, 1, 1) weights of n 1x1 convolutions.
    """
    if torch.is_grad_enabled() and x.requires_grad and not torch.is_autocast_enabled(x.device.type):
        kept: Tensor = _ChainedPool.apply(x, *weights)  # type: ignore[no-untyped-call]
        return kept
    top = x
    for weight in weights:
        top = F.conv2d(F.max_pool2d(_pooled_quickly(top), 5, 1, 2), weight)
        x = top + x
    return x


def _pooled_quickly(x: Tensor) -> Tensor:
    # torch's 5x5 max pooling on CPUs is ten times faster with the channels-last format
    return x.contiguous(memory_format=torch.channels_last) if x.device.type == "cpu" else x


class _ChainedPool(torch.autograd.Function):
    """`chained_pool` for training. It stores only the input of each stage and recomputes the maxima.

    The maxima and their 64-bit indices would need three times the input's memory.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Tensor) -> Tensor:
        """(B, C, H, W), n weights (C, C, 1, 1) -> (B, C, H, W)."""
        kept, top, total = [], x, x
        for weight in weights:
            top = _pooled_quickly(top)
            kept.append(top)
            top = F.conv2d(F.max_pool2d(top, 5, 1, 2), weight)
            total = total + top if total is x else total.add_(top)
        ctx.save_for_backward(*weights, *kept)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the input and of all weights."""
        saved: Sequence[Tensor] = ctx.saved_tensors
        stages = len(saved) // 2
        by_weight: list[Tensor | None] = [None] * stages
        by_top: Tensor = gradient
        for stage in reversed(range(stages)):
            weight, top = saved[stage], saved[stages + stage]
            pooled, indices = F.max_pool2d(top, 5, 1, 2, return_indices=True)
            by_pooled, by_weight[stage], _ = torch.ops.aten.convolution_backward(
                by_top, pooled, weight, None, (1, 1), (0, 0), (1, 1), False, (0, 0), 1, (True, True, False)
            )
            del pooled
            by_top = torch.ops.aten.max_pool2d_with_indices_backward(
                by_pooled, top, (5, 5), (1, 1), (2, 2), (1, 1), False, indices
            )
            by_top += gradient
        return by_top, *by_weight
