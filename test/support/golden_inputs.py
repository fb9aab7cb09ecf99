"""Deterministic inputs for the golden numbers: sums of sines, which do not depend on a random generator.

The golden numbers come from the loss code of the original repository with exactly these tensors.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

HEIGHT, WIDTH, BATCH = 96, 128, 2
SCALES = (0, 1, 2, 3)


def waves(batch: int, channels: int, height: int, width: int, seed: int) -> Tensor:
    """Return (B, C, H, W) in [0, 1]: the sum of four sines per channel, with phases in steps of the golden ratio."""
    v, u = torch.meshgrid(
        torch.arange(height, dtype=torch.float64) / height,
        torch.arange(width, dtype=torch.float64) / width,
        indexing="ij",
    )
    result = torch.zeros(batch, channels, height, width, dtype=torch.float64)
    for b in range(batch):
        for c in range(channels):
            for k in range(4):
                phase = 2 * math.pi * (0.6180339887 * (1 + k + 5 * c + 31 * b + 97 * seed) % 1)
                wave = torch.sin(2 * math.pi * ((2 + 3 * k + c) * u + (1 + 2 * k + b) * v) + phase)
                result[b, c] += 0.125 * wave
    return (0.5 + result).float().clamp(0, 1)


def images(frames: list[int | str]) -> dict[tuple[str, int | str, int], Tensor]:
    base = waves(BATCH, 3, HEIGHT, WIDTH, 0)
    return {
        ("color", f, 0): base if f == 0 else 0.9 * base.roll(7 * i - 10, -1) + 0.1 * waves(BATCH, 3, HEIGHT, WIDTH, i)
        for i, f in enumerate(frames)
    }


def cameras() -> dict[str, Tensor]:
    K = torch.eye(4).repeat(BATCH, 1, 1)
    K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2] = 0.58 * WIDTH, 1.92 * HEIGHT, 0.5 * WIDTH, 0.5 * HEIGHT
    stereo = torch.eye(4).repeat(BATCH, 1, 1)
    stereo[0, 0, 3], stereo[1, 0, 3] = -0.015, 0.015
    return {"K": K, "inv_K": torch.linalg.inv(K.double()).float(), "stereo_T": stereo}


def disparities() -> dict[tuple[str, int, int], Tensor]:
    return {("disp", 0, s): 0.05 + 0.2 * waves(BATCH, 1, HEIGHT >> (s + 1), WIDTH >> (s + 1), 20 + s) for s in SCALES}


def motions(frames: list[int | str]) -> dict[int, tuple[Tensor, Tensor]]:
    """Return (axisangle, translation), (B, 3) each, by frame, for all frames except the stereo partner."""
    result = {}
    for i, f in enumerate(f for f in frames[1:] if f != "s"):
        steps = torch.arange(BATCH * 3, dtype=torch.float32).reshape(BATCH, 3) + 7 * i
        result[int(f)] = (0.012 * torch.sin(2.1 * steps + 0.5), 0.06 * torch.cos(1.7 * steps + 0.2))
    return result


def reconstructions() -> dict[int, Tensor]:
    return {s: waves(BATCH, 3, HEIGHT >> s, WIDTH >> s, 40 + s) for s in SCALES}


class SmallEncoder(nn.Module):
    """A replacement for a ResNet: five levels of conv, BatchNorm and ReLU with stride 2 and weights from formulas."""

    def __init__(self) -> None:
        super().__init__()
        channels = (16, 12, 16, 20, 24)
        self.levels = nn.ModuleList()
        inputs = 3
        for i, outputs in enumerate(channels):
            kernel = 7 if i == 0 else 3
            conv = nn.Conv2d(inputs, outputs, kernel, 2, kernel // 2, bias=False)
            norm = nn.BatchNorm2d(outputs)
            with torch.no_grad():
                count = torch.arange(conv.weight.numel(), dtype=torch.float64)
                weight = torch.sin(12.9898 * count + i) / math.sqrt(conv.weight[0].numel())
                conv.weight.copy_(weight.reshape(conv.weight.shape).float())
                steps = torch.arange(outputs, dtype=torch.float32)
                norm.weight.copy_(1 + 0.3 * torch.sin(steps))
                norm.bias.copy_(0.2 * torch.cos(2 * steps))
                norm.running_mean.copy_(0.1 * torch.sin(3 * steps))  # type: ignore[union-attr,operator]
                norm.running_var.copy_(0.2 + 0.1 * torch.cos(steps) ** 2)  # type: ignore[union-attr,operator]
            self.levels.append(nn.Sequential(conv, norm, nn.ReLU()))
            inputs = outputs

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = []
        for level in self.levels:
            image = level(image)
            maps.append(image)
        return maps
