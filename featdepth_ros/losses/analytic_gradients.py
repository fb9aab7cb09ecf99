"""The two expensive losses with analytic gradients, which need fewer passes over memory and store fewer tensors.

The results equal those of autograd for the plain formulas, as tests check. There are first derivatives only.
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
#: Number of channels of a feature map per step; for 96x320 pixels they fit into the CPU's cache.
SAMPLED_CHANNELS = 16
#: torch's constants for the modes of `grid_sampler_2d`.
_BILINEAR, _BORDER = 0, 1


def box(values: Tensor) -> Tensor:
    """Return the mean over 3x3 windows of (..., H, W) without padding, (..., H - 2, W - 2). Not differentiable."""
    rows = values[..., 2:] + values[..., 1:-1]
    rows += values[..., :-2]
    sums = rows[..., 2:, :] + rows[..., 1:-1, :]
    sums += rows[..., :-2, :]
    return sums.mul_(1 / 9)


def reflected(image: Tensor) -> Tensor:
    """Return (N, C, H, W) padded by one reflected pixel."""
    return functional.pad(image, (1, 1, 1, 1), mode="reflect")


class PhotometricDifference(torch.autograd.Function):
    """Photometric loss 0.85 mean_c (1 - SSIM) / 2 + 0.15 mean_c Charbonnier, of k images for each of B targets."""

    @staticmethod
    def forward(
        ctx: Any, prediction: Tensor, target: Tensor, target_reflected: Tensor, mean_y: Tensor, variance_y: Tensor
    ) -> Tensor:
        """Compare (k B, C, H, W) with (B, C, H, W) and its statistics (same shape); return (k B, 1, H, W)."""
        blocks = prediction.unflatten(0, (-1, target.shape[0]))
        losses: list[Tensor] = []
        saved: list[Tensor] = []
        for block in blocks.unbind():  # one at a time, so that intermediate results stay in the cache
            loss, kept = _compare(block, target, target_reflected, mean_y, variance_y, ctx.needs_input_grad[0])
            losses.append(loss)
            saved += kept
        ctx.save_for_backward(target_reflected, *saved)
        return torch.cat(losses)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of the prediction only, because targets are images."""
        y, *saved = ctx.saved_tensors
        blocks = gradient.split(y.shape[0])
        parts = [_derive(block, y, *saved[5 * i : 5 * i + 5]) for i, block in enumerate(blocks)]
        return torch.cat(parts), None, None, None, None


def _compare(
    prediction: Tensor, target: Tensor, target_reflected: Tensor, mean_y: Tensor, variance_y: Tensor, derivatives: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the loss (B, 1, H, W) of two (B, C, H, W), and five maps for `_derive`."""
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
    # derivatives of the loss by the windows' means of x, x^2 and x y; 0 where the clamp is active
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
    """Return the gradient (B, C, H, W) of the prediction of `_compare` from that of its loss."""
    whole = _spread(by_square * gradient).mul_(x).mul_(2)
    whole.addcmul_(_spread(by_product * gradient), y).add_(_spread(by_mean * gradient))
    # the gradient of a reflected border pixel is added to that of the original pixel
    whole[..., 2, :] += whole[..., 0, :]
    whole[..., -3, :] += whole[..., -1, :]
    whole[..., 2] += whole[..., 0]
    whole[..., -3] += whole[..., -1]
    return torch.addcmul(whole[..., 1:-1, 1:-1], slope, gradient)


def _spread(values: Tensor) -> Tensor:
    """Return the adjoint of `box`: (..., H, W) to (..., H + 2, W + 2)."""
    return box(functional.pad(values, (2, 2, 2, 2)))


class CharbonnierMean(torch.autograd.Function):
    """mean_c sqrt((a - b)^2 + 1e-6) of two (B, C, H, W), for maps with many channels. It stores only one tensor."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        """Return the loss (B, 1, H, W)."""
        difference = first - second
        distance = (difference * difference).add_(CHARBONNIER_EPSILON**2).sqrt_()
        loss = distance.mean(1, keepdim=True)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(difference.div_(distance).mul_(1 / first.shape[1]))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return opposite gradients for the two inputs, each only if needed."""
        (slope,) = ctx.saved_tensors
        product = slope * gradient
        return product if ctx.needs_input_grad[0] else None, product.neg() if ctx.needs_input_grad[1] else None


class SampledCharbonnierMean(torch.autograd.Function):
    """`CharbonnierMean` of a constant map and another constant map sampled at a grid, a few channels at a time.

    A pixel's difference depends only on its own grid position, so the forward pass computes its two derivatives. The
    sampled map is as large as the features, but it is never stored as a whole.
    """

    @staticmethod
    def forward(ctx: Any, target: Tensor, source: Tensor, grid: Tensor, align_corners: bool) -> Tensor:
        """(B, C, h, w), (B, C, H, W), (B, h, w, 2) -> (B, 1, h, w); bilinear, with repeated border outside."""
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
        """Return the gradient of the grid only."""
        (slope,) = ctx.saved_tensors
        return None, None, None if slope is None else slope * gradient[:, 0, :, :, None], None
