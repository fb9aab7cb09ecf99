"""Gradients taken at once are those that autograd would take later."""

from __future__ import annotations

import torch
from torch import Tensor

from featdepth_ros.geometry.warp import sample_grid
from featdepth_ros.losses.forward_gradients import with_forward_gradients
from featdepth_ros.losses.photometric import feature_metric, sampled_feature_metric


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def formula(x: Tensor, y: Tensor, z: Tensor | None) -> Tensor:
    return (x.exp() * y.sin()).sum() if z is None else (x * y * z).sum()


def test_value_and_gradients() -> None:
    x, y, constant = noise(3, 4).requires_grad_(), noise(3, 4, seed=1).requires_grad_(), noise(3, 4, seed=2)
    for third in (None, constant):
        found = with_forward_gradients(formula, x, y, third)
        plain = formula(x, y, third)
        torch.testing.assert_close(found, plain)
        for a, b in zip(torch.autograd.grad(3 * found, (x, y)), torch.autograd.grad(3 * plain, (x, y)), strict=True):
            torch.testing.assert_close(a, b)
    assert constant.grad is None


def test_inputs_that_do_not_matter_and_no_gradients() -> None:
    x, unused = noise(3).requires_grad_(), noise(3, seed=1).requires_grad_()
    value = with_forward_gradients(lambda x, unused: x.square().sum(), x, unused)
    first, second = torch.autograd.grad(value, (x, unused), allow_unused=True)
    torch.testing.assert_close(first, 2 * x)
    assert second is None
    flat = with_forward_gradients(lambda x: x.detach().sum(), x)
    assert torch.autograd.grad(flat, x, allow_unused=True) == (None,)
    with torch.no_grad():
        assert not with_forward_gradients(formula, x, unused, None).requires_grad


def test_sampled_features() -> None:
    """Channels a few at a time, and some over."""
    target, source = noise(2, 37, 5, 6), noise(2, 37, 7, 8, seed=1)
    grid = (2.2 * noise(2, 5, 6, 2, seed=2) - 1.1).requires_grad_()
    for convention in ("exact", "reference_true"):
        found = sampled_feature_metric(target, source, grid, convention)
        plain = feature_metric(target, sample_grid(source, grid, convention))
        torch.testing.assert_close(found, plain, atol=1e-12, rtol=1e-12)
        weight = noise(2, 1, 5, 6, seed=3)
        gradients = [torch.autograd.grad((weight * value).sum(), grid)[0] for value in (found, plain)]
        torch.testing.assert_close(gradients[0], gradients[1], atol=1e-12, rtol=1e-12)


def test_features_that_are_trained_get_their_gradients() -> None:
    target, source = noise(1, 3, 5, 6).requires_grad_(), noise(1, 3, 5, 6, seed=1).requires_grad_()
    grid = (2 * noise(1, 5, 6, 2, seed=2) - 1).requires_grad_()
    gradients = torch.autograd.grad(sampled_feature_metric(target, source, grid, "exact").sum(), (target, source, grid))
    assert all(bool(gradient.any()) for gradient in gradients)
