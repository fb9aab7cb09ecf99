"""The two expensive differences with analytic gradients: fewer passes over memory, fewer tensors kept.

Equal to letting autograd differentiate the plain formulas (which the tests do), first derivatives only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

SSIM_C1 = 0.01**2
SSIM_C2 = 0.03**2
SSIM_SHARE = 0.85
CHARBONNIER_EPSILON = 1e-3
#: Channels of a feature map that are sampled and compared at a time: 96x320 pixels of them fit a processor's cache.
SAMPLED_CHANNELS = 16
#: torch's numbers for the modes of `grid_sampler_2d`.
_BILINEAR, _BORDER = 0, 1


def box(values: Tensor) -> Tensor:
    """Mean over 3x3 windows of (..., H, W), valid positions only: (..., H - 2, W - 2). Not differentiable."""
    rows = values[..., 2:] + values[..., 1:-1]
    rows += values[..., :-2]
    sums = rows[..., 2:, :] + rows[..., 1:-1, :]
    sums += rows[..., :-2, :]
    return sums.mul_(1 / 9)


def reflected(image: Tensor) -> Tensor:
    """(N, C, H, W) with one reflected pixel around."""
    return functional.pad(image, (1, 1, 1, 1), mode="reflect")


class PhotometricDifference(torch.autograd.Function):
    """0.85 mean_c (1 - SSIM) / 2 + 0.15 mean_c Charbonnier, of k images for each of B targets."""

    @staticmethod
    def forward(
        ctx: Any, prediction: Tensor, target: Tensor, target_reflected: Tensor, mean_y: Tensor, variance_y: Tensor
    ) -> Tensor:
        """Compare (k B, C, H, W) with (B, C, H, W) and its statistics (same shape); returns (k B, 1, H, W)."""
        blocks = prediction.unflatten(0, (-1, target.shape[0]))
        losses: list[Tensor] = []
        saved: list[Tensor] = []
        for block in blocks.unbind():  # one at a time, so that what is in between stays in the cache
            loss, kept = _compare(block, target, target_reflected, mean_y, variance_y, ctx.needs_input_grad[0])
            losses.append(loss)
            saved += kept
        ctx.save_for_backward(target_reflected, *saved)
        return torch.cat(losses)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient for the prediction only: targets are images."""
        y, *saved = ctx.saved_tensors
        blocks = gradient.split(y.shape[0])
        parts = [_derive(block, y, *saved[5 * i : 5 * i + 5]) for i, block in enumerate(blocks)]
        return torch.cat(parts), None, None, None, None


def _compare(
    prediction: Tensor, target: Tensor, target_reflected: Tensor, mean_y: Tensor, variance_y: Tensor, derivatives: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Difference (B, 1, H, W) of two (B, C, H, W), and the five maps that `_derive` wants besides the target."""
    x = reflected(prediction)
    mean_x = box(x)
    d = box(x * x).addcmul_(mean_x, mean_x, value=-1).add_(variance_y).add_(SSIM_C2)
    b = box(x * target_reflected).addcmul_(mean_x, mean_y, value=-1).mul_(2).add_(SSIM_C2)
    a = (mean_x * mean_y).mul_(2).add_(SSIM_C1)
    c = (mean_x * mean_x).addcmul_(mean_y, mean_y).add_(SSIM_C1)
    reciprocal = (c * d).reciprocal_()
    similarity = (a * b).mul_(reciprocal)
    structure = (1 - similarity).mul_(0.5)
    difference = prediction - target
    distance = (difference * difference).add_(CHARBONNIER_EPSILON**2).sqrt_()
    loss = structure.clamp(0, 1).mean(1, keepdim=True).mul_(SSIM_SHARE)
    loss.add_(distance.mean(1, keepdim=True), alpha=1 - SSIM_SHARE)
    if not derivatives:
        return loss, ()
    channels = target.shape[1]
    # derivatives of the loss by the windows' means of x, x^2 and x y; 0 where the clamp holds
    weight = ((structure >= 0) & (structure <= 1)).to(a.dtype).mul_(-0.5 * SSIM_SHARE / channels)
    reciprocal.mul_(weight)
    similarity.mul_(weight)
    by_square = (similarity / d).neg_()
    by_product = (a * reciprocal).mul_(2)
    by_mean = b.sub_(a).mul_(reciprocal).mul_(mean_y)
    by_mean.sub_(mean_x.mul_(similarity.div_(c).add_(by_square))).mul_(2)
    slope = difference.div_(distance).mul_((1 - SSIM_SHARE) / channels)
    return loss, (x, by_mean, by_square, by_product, slope)


def _derive(
    gradient: Tensor, y: Tensor, x: Tensor, by_mean: Tensor, by_square: Tensor, by_product: Tensor, slope: Tensor
) -> Tensor:
    """Gradient (B, C, H, W) for the prediction of `_compare` from that of its difference."""
    whole = _spread(by_square * gradient).mul_(x).mul_(2)
    whole.addcmul_(_spread(by_product * gradient), y).add_(_spread(by_mean * gradient))
    # a reflected border pixel passes its gradient on to the pixel it copies
    whole[..., 2, :] += whole[..., 0, :]
    whole[..., -3, :] += whole[..., -1, :]
    whole[..., 2] += whole[..., 0]
    whole[..., -3] += whole[..., -1]
    return torch.addcmul(whole[..., 1:-1, 1:-1], slope, gradient)


def _spread(values: Tensor) -> Tensor:
    """Adjoint of `box`: (..., H, W) to (..., H + 2, W + 2)."""
    return box(functional.pad(values, (2, 2, 2, 2)))


class CharbonnierMean(torch.autograd.Function):
    """mean_c sqrt((a - b)^2 + 1e-6) of two (B, C, H, W), for maps of many channels: one tensor is kept."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        """Returns (B, 1, H, W)."""
        difference = first - second
        distance = (difference * difference).add_(CHARBONNIER_EPSILON**2).sqrt_()
        loss = distance.mean(1, keepdim=True)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(difference.div_(distance).mul_(1 / first.shape[1]))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Opposite gradients for the two, each only where it is needed."""
        (slope,) = ctx.saved_tensors
        product = slope * gradient
        return product if ctx.needs_input_grad[0] else None, product.neg() if ctx.needs_input_grad[1] else None


class SampledCharbonnierMean(torch.autograd.Function):
    """`CharbonnierMean` of a map and another one sampled at a grid, both constant: channels a few at a time.

    A pixel's difference depends on nothing but its own position in the grid. So its two derivatives are taken at once,
    and the sampled map, as large as the features, is never whole in memory.
    """

    @staticmethod
    def forward(ctx: Any, target: Tensor, source: Tensor, grid: Tensor, align_corners: bool) -> Tensor:
        """(B, C, h, w), (B, C, H, W) and (B, h, w, 2) to (B, 1, h, w); bilinear, the border repeats outside."""
        loss: Tensor | None = None
        slope: Tensor | None = None
        for wanted, values in zip(target.split(SAMPLED_CHANNELS, 1), source.split(SAMPLED_CHANNELS, 1), strict=True):
            values = values.contiguous()
            difference = torch.grid_sampler_2d(values, grid, _BILINEAR, _BORDER, align_corners).sub_(wanted)
            distance = (difference * difference).add_(CHARBONNIER_EPSILON**2).sqrt_()
            part = distance.sum(1, keepdim=True)
            loss = part if loss is None else loss.add_(part)
            if ctx.needs_input_grad[2]:
                _, moved = torch.ops.aten.grid_sampler_2d_backward(
                    difference.div_(distance), values, grid, _BILINEAR, _BORDER, align_corners, (False, True)
                )
                slope = moved if slope is None else slope.add_(moved)
        assert loss is not None
        ctx.save_for_backward(None if slope is None else slope.mul_(1 / target.shape[1]))
        return loss.mul_(1 / target.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient for the grid only."""
        (slope,) = ctx.saved_tensors
        return None, None, None if slope is None else slope * gradient[:, 0, :, :, None], None
