"""Properties of the loss functions by themselves."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from featdepth_ros.losses import (
    ImageEdges,
    TargetImage,
    batch_norm_mode,
    depth_from_disparity,
    feature_maps,
    feature_metric,
    photometric,
    smoothness,
)
from featdepth_ros.losses.smoothness import normalised_by_mean


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_an_image_is_like_itself() -> None:
    image = noise(2, 3, 20, 30)
    # Charbonnier of nothing is 1e-3, of which 0.15 count
    torch.testing.assert_close(photometric(image, image), torch.full((2, 1, 20, 30), 0.15e-3), atol=2e-6, rtol=0)


def test_ssim_by_hand() -> None:
    """Two flat images: variances vanish, only the means' term stays."""
    a, b = torch.full((1, 1, 5, 5), 0.2), torch.full((1, 1, 5, 5), 0.6)
    expected = (1 - (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)) / 2
    whole = 0.85 * expected + 0.15 * math.sqrt(0.16 + 1e-6)
    torch.testing.assert_close(photometric(a, b), torch.full((1, 1, 5, 5), whole), atol=1e-4, rtol=0)


def plain_photometric(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The formula as the paper writes it, left to autograd."""
    distance = torch.sqrt((y - x) ** 2 + 1e-6).mean(1, keepdim=True)
    x, y = (nn.functional.pad(t, (1, 1, 1, 1), mode="reflect") for t in (x, y))
    mx, my, mxx, myy, mxy = (nn.functional.avg_pool2d(t, 3, 1) for t in (x, y, x * x, y * y, x * y))
    ssim = (2 * mx * my + 1e-4) * (2 * (mxy - mx * my) + 9e-4)
    ssim = ssim / ((mx * mx + my * my + 1e-4) * (mxx - mx * mx + myy - my * my + 9e-4))
    return 0.85 * ((1 - ssim) / 2).clamp(0, 1).mean(1, keepdim=True) + 0.15 * distance


@pytest.mark.parametrize("size", [(2, 2), (3, 5), (17, 24)])
def test_written_out_gradients_equal_autograds(size: tuple[int, int]) -> None:
    target, image = noise(2, 3, *size, dtype=torch.float64), noise(2, 3, *size, seed=1, dtype=torch.float64)
    weight = noise(2, 1, *size, seed=2, dtype=torch.float64)
    results = []
    for function in (photometric, plain_photometric):
        leaf = image.clone().requires_grad_()
        value = function(leaf, target)
        (weight * value).sum().backward()
        results.append((value.detach(), leaf.grad))
    torch.testing.assert_close(results[0], results[1], atol=1e-12, rtol=1e-10)


def test_feature_difference_and_its_gradients() -> None:
    a = noise(2, 5, 4, 6, dtype=torch.float64).requires_grad_()
    b = noise(2, 5, 4, 6, seed=1, dtype=torch.float64).requires_grad_()
    torch.testing.assert_close(feature_metric(a, b), torch.sqrt((a - b) ** 2 + 1e-6).mean(1, keepdim=True))
    assert torch.autograd.gradcheck(feature_metric, (a, b))


def test_several_images_at_once_equal_one_at_a_time() -> None:
    target, first, second = noise(2, 3, 12, 16), noise(2, 3, 12, 16, seed=1), noise(2, 3, 12, 16, seed=2)
    together = TargetImage(target).photometric(torch.cat([first, second]))
    apart = torch.cat([photometric(first, target), photometric(second, target)])
    torch.testing.assert_close(together, apart, atol=1e-7, rtol=0)


def test_gradients_by_finite_differences() -> None:
    target, image = noise(1, 2, 5, 6, dtype=torch.float64), noise(1, 2, 5, 6, seed=1, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: photometric(x, target), (image.requires_grad_(),))
    disparity = noise(1, 1, 5, 6, seed=3, dtype=torch.float64).requires_grad_()
    edges = ImageEdges(target)
    assert torch.autograd.gradcheck(lambda d: smoothness(normalised_by_mean(d), edges, 0.5), (disparity,))
    assert torch.autograd.gradcheck(lambda d: depth_from_disparity(d, 0.1, 100.0), (disparity,), atol=1e-4)


def test_smoothness_of_a_ramp_and_a_step() -> None:
    flat = ImageEdges(torch.zeros(1, 3, 6, 8))
    ramp = torch.arange(8.0).expand(1, 1, 6, 8) * 0.1
    first, second = smoothness(ramp, flat, 0.5)
    assert float(first) == pytest.approx(0.1, rel=1e-5) and float(second) == pytest.approx(0.0, abs=1e-6)
    step = (torch.arange(8.0) >= 4).float().expand(1, 1, 6, 8)
    first, second = smoothness(step, flat, 0.5)
    assert float(first) == pytest.approx(1 / 7) and float(second) == pytest.approx(2 / 6)
    # an image edge at the same place forgives: exp(-factor * 1)
    forgiven, _ = smoothness(step, ImageEdges(step.expand(1, 3, 6, 8)), 0.5)
    assert float(forgiven) == pytest.approx(math.exp(-0.5) / 7, rel=1e-5)
    forgiven, _ = smoothness(step, ImageEdges(step.expand(1, 3, 6, 8)), 1.0)
    assert float(forgiven) == pytest.approx(math.exp(-1.0) / 7, rel=1e-5)


@pytest.mark.parametrize("shape", [(2, 5), (1, 5), (5, 2), (1, 1)])
def test_tiny_maps_have_no_second_difference(shape: tuple[int, int]) -> None:
    """Spec section 7, D20: the original's mean over nothing is NaN."""
    edges = ImageEdges(noise(1, 3, 64, 64))
    values = noise(1, 4, *shape).requires_grad_()
    first, second = smoothness(values, edges, 1.0)
    (first + second).backward()
    assert torch.isfinite(first) and torch.isfinite(second)
    assert values.grad is not None and torch.isfinite(values.grad).all()
    assert torch.isnan(smoothness(values, edges, 1.0, tiny_maps="nan")[1])


def test_depth_range() -> None:
    depth = depth_from_disparity(torch.tensor([0.0, 0.5, 1.0]), 0.1, 100.0)
    torch.testing.assert_close(depth, torch.tensor([100.0, 1 / 5.005, 0.1]))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.norm(image))


def test_a_frozen_feature_net_stays_frozen() -> None:
    net = Net().train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    images: dict[int | str, torch.Tensor] = {0: noise(2, 3, 8, 8), -1: 3 * noise(2, 3, 8, 8, seed=1)}
    running = feature_maps(images, net, net)
    batch = feature_maps(images, net, net, "batch_statistics")
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert net.training and net.norm.training and net.norm.track_running_stats
    assert list(running) == [("feature", 0, 0), ("feature", -1, 0)]
    torch.testing.assert_close(running["feature", -1, 0], images[-1] / math.sqrt(1 + 1e-5))
    assert float(batch["feature", -1, 0].mean()) == pytest.approx(0.0, abs=1e-5)
    assert not running["feature", 0, 0].requires_grad
    assert feature_maps(images, net, net, gradients=True)["feature", 0, 0].requires_grad


def test_batch_norm_mode_puts_everything_back_after_an_error() -> None:
    net = Net().eval()
    with pytest.raises(RuntimeError, match="stop"), batch_norm_mode(net, "batch_statistics"):  # noqa: PT012 - a body that fails
        assert net.norm.training and not net.norm.track_running_stats
        raise RuntimeError("stop")
    assert not net.training and not net.norm.training and net.norm.track_running_stats
