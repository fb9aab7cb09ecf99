"""Photometric changes, batched, on the device of the batch. Geometry is changed while loading (see `rendered`).

One draw a sample, with a small difference between its images, as exposure control makes it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from featdepth_training.config.schema import AugmentConfig
from featdepth_training.data.batch import FrameBatch


class _Draws:
    """Random numbers of shape (B, 1, 1, 1), drawn on the CPU so that every device sees the same augmentation."""

    def __init__(self, count: int, generator: torch.Generator, device: torch.device) -> None:
        self.count, self.generator, self.device = count, generator, device

    def uniform(self, low: float, high: float) -> Tensor:
        values = torch.rand(self.count, 1, 1, 1, generator=self.generator)
        return (low + (high - low) * values).to(self.device)

    def around_one(self, reach: float) -> Tensor:
        return torch.exp(self.uniform(-1.0, 1.0) * torch.log1p(torch.tensor(reach)).item())

    def chance(self, share: float) -> Tensor:
        return self.uniform(0.0, 1.0) < share

    def normal_like(self, x: Tensor) -> Tensor:
        # On the CPU 64-bit draws are slow; a tile shifted at random is noise enough and cheap.
        tile = torch.randn(1, x.shape[1], x.shape[2], x.shape[3], generator=self.generator)
        shifts = torch.randint(0, 10_000, (x.shape[0], 2), generator=self.generator).tolist()
        return torch.cat([torch.roll(tile, (dy, dx), (2, 3)) for dy, dx in shifts]).to(x.device)


def _luma(x: Tensor) -> Tensor:
    return x[:, :1] * 0.299 + x[:, 1:2] * 0.587 + x[:, 2:] * 0.114


def _turn_hue(x: Tensor, turns: Tensor) -> Tensor:
    """Rotate colours about the grey axis (B, 1, 1, 1 turns): hue without the detour through HSV."""
    angle = turns.flatten() * (2 * torch.pi)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    third, root = 1.0 / 3.0, (1.0 / 3.0) ** 0.5
    same = cosine + third * (1 - cosine)
    next_ = third * (1 - cosine) - root * sine
    last = third * (1 - cosine) + root * sine
    rows = [torch.stack(r, 1) for r in ((same, next_, last), (last, same, next_), (next_, last, same))]
    matrix = torch.stack(rows, 1)
    return torch.einsum("bij,bjhw->bihw", matrix, x)


def _blur(x: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)


def _haze(image: Tensor, depth_m: Tensor, density: Tensor, colour: Tensor) -> Tensor:
    """Koschmieder: the farther, the more of the air's light. Depth 0 where unknown, 200 m for the sky."""
    depth = torch.nan_to_num(depth_m, nan=0.0, posinf=200.0)
    clear = torch.exp(-depth * density)
    return image * clear + colour * (1 - clear)


def photometric(batch: FrameBatch, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Return what the networks see: the images (B, F, 3, H, W) of ``batch`` in floats, changed as ``config`` says."""
    count = batch.images.shape[0]
    draws = _Draws(count, generator, batch.images.device)
    exposure, contrast = draws.around_one(config.brightness), draws.around_one(config.contrast)
    saturation = torch.where(draws.chance(config.grey), 0.0, draws.around_one(config.saturation))
    hue, gamma = draws.uniform(-config.hue, config.hue), draws.around_one(config.gamma)
    blurred = draws.chance(config.blur)
    density = torch.where(draws.chance(config.haze), draws.uniform(0.002, 0.03), 0.0)
    air = draws.uniform(0.4, 0.95)
    sigma = draws.uniform(0.0, config.noise)
    seen: list[Tensor] = []
    for image, depth in zip(batch.images.unbind(1), batch.depth.unbind(1), strict=True):
        x = image
        if config.haze > 0:
            x = _haze(x, depth, density, air)
        if config.hue > 0:
            x = _turn_hue(x, hue)
        grey = _luma(x)
        x = grey + (x - grey) * saturation
        level = x.mean((1, 2, 3), keepdim=True)
        jitter = config.pair_jitter
        x = level + (x - level) * contrast * draws.around_one(jitter * config.contrast)
        x = (x * exposure * draws.around_one(jitter * config.brightness)).clamp(0.0, 1.0)
        x = x.clamp_min(1e-4) ** gamma
        if config.blur > 0:
            x = torch.where(blurred, _blur(x), x)
        if config.noise > 0:
            x = x + draws.normal_like(x) * sigma
        seen.append(x.clamp(0.0, 1.0))
    return torch.stack(seen, 1)
