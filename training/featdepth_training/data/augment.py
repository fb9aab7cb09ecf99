"""Photometric augmentation of batches, on their device. Geometric augmentation happens during loading (`samples`).

The parameters are drawn per sample, with a small difference between its images, as from exposure control. Memory
bandwidth is the bottleneck. So linear colour changes are one matrix per image, and changes are made in place.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from featdepth_training.config.schema import AugmentConfig
from featdepth_training.data.batch import FrameBatch

#: Weights of red, green and blue in grey (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)


class _Draws:
    """Random numbers of shape (B, 1), drawn on the CPU so that every device sees the same augmentation."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count, self.generator = count, generator

    def uniform(self, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(self.count, 1, generator=self.generator)

    def around_one(self, reach: float) -> Tensor:
        return torch.exp(self.uniform(-1.0, 1.0) * math.log1p(reach))

    def chance(self, share: float) -> Tensor:
        return self.uniform(0.0, 1.0) < share

    def around_one_each(self, reach: float, frames: int) -> Tensor:
        """(B, F): another number for each frame of a sample."""
        return torch.cat([self.around_one(reach) for _ in range(frames)], 1)


def _turned_hue(turns: Tensor) -> Tensor:
    """(B, 3, 3) rotations about the grey axis by (B, 1) turns: hue without the detour through HSV."""
    angle = turns.flatten() * (2 * torch.pi)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    third, root = 1.0 / 3.0, (1.0 / 3.0) ** 0.5
    same = cosine + third * (1 - cosine)
    next_ = third * (1 - cosine) - root * sine
    last = third * (1 - cosine) + root * sine
    rows = [torch.stack(r, 1) for r in ((same, next_, last), (last, same, next_), (next_, last, same))]
    return torch.stack(rows, 1)


def _saturated(factors: Tensor) -> Tensor:
    """(B, 3, 3): colours (B, 1) times as far from their grey."""
    factor = factors[:, :, None]
    return factor * torch.eye(3) + (1 - factor) * torch.tensor(LUMA).expand(3, 3)


def _blur(x: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)


def _haze(image: Tensor, depth_m: Tensor, density: Tensor, colour: Tensor) -> Tensor:
    """Koschmieder: the farther, the more of the air's light. Depth 0 where unknown, 200 m for the sky."""
    depth = torch.nan_to_num(depth_m, nan=0.0, posinf=200.0)
    clear = torch.exp(-depth * density)
    return image * clear + colour * (1 - clear)


def _add_noise(x: Tensor, sigmas: list[float], generator: torch.Generator) -> None:
    """Add noise to (B, F, 3, H, W) in place. Random numbers are slow on the CPU, so a randomly shifted tile is used."""
    height, width = x.shape[-2:]
    for frame in range(x.shape[1]):
        tile = torch.randn(3, height, width, generator=generator).to(x.device)
        shifts = torch.randint(0, 10_000, (x.shape[0], 2), generator=generator).tolist()
        for image, sigma, shift in zip(x[:, frame], sigmas, shifts, strict=True):
            image.add_(torch.roll(tile, shift, (1, 2)), alpha=sigma)


def photometric(batch: FrameBatch, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Return the inputs of the networks: the float images (B, F, 3, H, W) of ``batch`` with augmentation."""
    x, device = batch.images, batch.images.device
    count, frames = x.shape[:2]
    draws = _Draws(count, generator)
    exposure, contrast = draws.around_one(config.brightness), draws.around_one(config.contrast)
    saturation = torch.where(draws.chance(config.grey), 0.0, draws.around_one(config.saturation))
    hue, gamma = draws.uniform(-config.hue, config.hue), draws.around_one(config.gamma)
    blurred = draws.chance(config.blur).flatten()
    density = torch.where(draws.chance(config.haze), draws.uniform(0.002, 0.03), 0.0)
    air = draws.uniform(0.4, 0.95)
    sigma = draws.uniform(0.0, config.noise)
    contrast = contrast * draws.around_one_each(config.pair_jitter * config.contrast, frames)
    exposure = exposure * draws.around_one_each(config.pair_jitter * config.brightness, frames)
    if config.haze > 0:
        x = _haze(x, batch.depth, *(value.view(-1, 1, 1, 1, 1).to(device) for value in (density, air)))
    x = _coloured(x, _saturated(saturation) @ _turned_hue(hue), contrast, exposure)
    if config.gamma > 0:
        x.clamp_min_(1e-4).pow_(gamma.view(-1, 1, 1, 1, 1).to(device))
    if config.blur > 0:
        for sample in blurred.nonzero().flatten().tolist():
            x[sample] = _blur(x[sample])
    if config.noise > 0:
        _add_noise(x, sigma.flatten().tolist(), generator)
        x.clamp_(0.0, 1.0)
    return x


def _coloured(x: Tensor, colour: Tensor, contrast: Tensor, exposure: Tensor) -> Tensor:
    """Multiply colours by a matrix, then stretch them about the image's mean, then expose; in [0, 1].

    All of it is one matrix and one offset an image. Images are (B, F, 3, H, W), the matrices (B, 3, 3), the factors of
    contrast and exposure (B, F).
    """
    gain, lift = (value.to(x.device) for value in (exposure * contrast, exposure * (1 - contrast)))
    colour = colour.to(x.device)[:, None]
    level = (colour @ x.mean((3, 4))[..., None]).mean((2, 3))
    matrices, offsets = colour * gain[:, :, None, None], (lift * level)[:, :, None, None].expand(-1, -1, 3, 1)
    mixed = torch.baddbmm(offsets.flatten(0, 1), matrices.flatten(0, 1), x.flatten(3).flatten(0, 1))
    return mixed.clamp_(0.0, 1.0).view_as(x)
