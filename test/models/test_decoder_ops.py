"""The decoder's cheaper forms against the plain ones, in double precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from featdepth_ros.models.decoder_ops import chained_pool, conv3x3_of_upsampled, transposed_kernel


def noise(*shape: int, seed: int = 0) -> Tensor:
    values = torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (values - 0.5).requires_grad_()


def plain_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    large = F.interpolate(x, scale_factor=2.0, mode="nearest")
    return F.conv2d(F.pad(large, (1, 1, 1, 1), mode="reflect"), weight, bias)


def plain_pool(x: Tensor, *weights: Tensor) -> Tensor:
    top = x
    for weight in weights:
        top = F.conv2d(F.max_pool2d(top, 5, 1, 2), weight)
        x = x + top
    return x


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (6, 7)])
@pytest.mark.parametrize("outputs", [1, 4])
def test_convolution_of_upsampled_maps(size: tuple[int, int], outputs: int) -> None:
    leaves = [noise(2, 5, *size), noise(outputs, 5, 3, 3, seed=1), noise(outputs, seed=2)]
    direction = noise(2, outputs, 2 * size[0], 2 * size[1], seed=3).detach()
    results = []
    for function in (conv3x3_of_upsampled, plain_conv):
        value = function(*leaves)
        results.append((value, *torch.autograd.grad(value, leaves, direction)))
    torch.testing.assert_close(results[0], results[1], atol=1e-12, rtol=1e-12)
    without = conv3x3_of_upsampled(leaves[0], leaves[1])
    torch.testing.assert_close(without, plain_conv(leaves[0], leaves[1], None), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (6, 7)])
def test_a_transposed_convolution_stands_for_one_of_an_upsampled_map(size: tuple[int, int]) -> None:
    x, weight = noise(2, 5, *size), noise(4, 5, 3, 3, seed=1)
    plain = F.conv2d(F.interpolate(x, scale_factor=2.0, mode="nearest"), weight, padding=1)
    short = F.conv_transpose2d(x, transposed_kernel(weight), stride=2, padding=1)
    torch.testing.assert_close(short, plain, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("stages", [1, 4])
def test_chained_pooling_and_its_gradients(stages: int) -> None:
    leaves = [noise(2, 3, 7, 9), *(noise(3, 3, 1, 1, seed=i + 1) for i in range(stages))]
    direction = noise(2, 3, 7, 9, seed=9).detach()
    results = []
    for function in (lambda x, *weights: chained_pool(x, weights), plain_pool):
        value = function(*leaves)
        results.append((value, *torch.autograd.grad(value, leaves, direction)))
    torch.testing.assert_close(results[0], results[1], atol=1e-12, rtol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(chained_pool(leaves[0], leaves[1:]), results[1][0], atol=1e-12, rtol=1e-12)


def test_frozen_weights_get_no_gradient_and_the_input_still_does() -> None:
    x, weight = noise(1, 3, 6, 6), noise(3, 3, 1, 1, seed=1).detach()
    chained_pool(x, [weight]).sum().backward()
    found, x.grad = x.grad, None
    plain_pool(x, weight).sum().backward()
    torch.testing.assert_close(found, x.grad)


def test_trainable_weights_behind_a_frozen_encoder_get_theirs() -> None:
    x, weight = noise(1, 3, 6, 6).detach(), noise(3, 3, 1, 1, seed=1)
    chained_pool(x, [weight]).sum().backward()
    found, weight.grad = weight.grad, None
    plain_pool(x, weight).sum().backward()
    torch.testing.assert_close(found, weight.grad)


def test_chained_pooling_under_autocast() -> None:
    x, weight = noise(1, 3, 6, 6).detach().float().requires_grad_(), noise(3, 3, 1, 1, seed=1).detach().float()
    with torch.autocast("cpu", torch.bfloat16):
        value = chained_pool(x, [weight])
    (gradient,) = torch.autograd.grad(value.float().sum(), x)
    (expected,) = torch.autograd.grad(plain_pool(x, weight).sum(), x)
    torch.testing.assert_close(gradient, expected, atol=0.02, rtol=0.02)
