"""The measured training step: weights, a batch and settings, which two processes build identically from a seed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from featdepth_ros.device import resolve_device
from featdepth_ros.errors import ConfigError

#: The reference's training (docs/reference.md 1): mono and stereo, Adam 1e-4, gradient clipped at 35.
FRAMES: tuple[int | str, ...] = (0, -1, 1, "s")
LEARNING_RATE = 1e-4
CLIP_NORM = 35.0
#: Factors on the kernels of disparity heads, and on the last norm in the residual branch of a bottleneck.
HEAD_DAMPING, BRANCH_DAMPING = 0.1, 0.25
#: Shift between neighbouring frames, as a share of the width.
SHIFT = 0.02


@dataclass(frozen=True)
class StepProblem:
    """A training step of a ``mono_fm`` network on mono and stereo frames, without dropout.

    Attributes:
        architecture: ``mono_fm_rN``.
        height, width: size of the images in pixels, multiples of 32.
        batch: samples per batch.
        seed: random seed of weights and images.
        threads: threads of torch.
        device: ``cpu`` or ``cuda``.
        pose_size: (height, width) of the pose network's input; the reference supports only 192x640.
    """

    architecture: str = "mono_fm_r50"
    height: int = 192
    width: int = 640
    batch: int = 1
    seed: int = 0
    threads: int = 1
    device: str = "cpu"
    pose_size: tuple[int, int] = (192, 640)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pose_size", tuple(self.pose_size))
        if not self.architecture.startswith("mono_fm_r"):
            raise ConfigError(f"--architecture is '{self.architecture}'; expected mono_fm_r18, _r34, _r50 or _r101")
        if self.height % 32 or self.width % 32 or min(self.height, self.width) < 64:
            raise ConfigError(
                f"--size is {self.height}x{self.width}; expected multiples of 32, at least 64, such as 192x640"
            )
        resolve_device(self.device)


@torch.no_grad()
def draw_weights(model: nn.Module, seed: int) -> None:
    """Initialise every parameter in place from the seed and its name: He initialisation, and ones and zeros for norms.

    Residual branches and disparity heads are damped, as in trained networks. Without damping, rounding errors grow
    through fifty layers and the sigmoids. The gradients of identical code then differ by several per cent if the images
    change by 1e-7.
    """
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode()))
            damping = HEAD_DAMPING if name.startswith("DepthDecoder.disp") else 1.0
            deviation = damping * (2 / parameter[0].numel()) ** 0.5
            # The order of the random numbers does not depend on the parameter's memory layout.
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * deviation)
        elif name.endswith("bn3.weight"):
            parameter.fill_(BRANCH_DAMPING)
        else:
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)


def prepare_model(model: nn.Module, problem: StepProblem) -> None:
    """Initialise ``mono_fm`` networks: training mode except for dropout, and no gradients for the feature network."""
    draw_weights(model, problem.seed)
    model.train()
    model.get_submodule("DepthDecoder").eval()  # only its dropout depends on the mode
    model.get_submodule("extractor").requires_grad_(False)  # as with the reference's extractor_pretrained_path


def make_inputs(problem: StepProblem) -> dict[Any, Tensor]:
    """Return a batch with the reference's keys: a random texture that moves sideways, and brighter network inputs."""
    generator = torch.Generator().manual_seed(problem.seed + 1)
    batch, height, width = problem.batch, problem.height, problem.width
    texture = torch.zeros(batch, 3, height, 2 * width)
    for octave in range(2, 6):
        noise = torch.rand(batch, 3, height >> octave, 2 * width >> octave, generator=generator)
        texture += functional.interpolate(noise, texture.shape[-2:], mode="bicubic") / 4
    texture = texture.clamp(0, 1)
    inputs: dict[Any, Tensor] = {}
    step = max(round(SHIFT * width), 1)
    for frame, shift in zip(FRAMES, (0, -step, step, 2 * step), strict=True):
        start = width // 2 + shift
        image = texture[..., start : start + width].contiguous()
        inputs["color", frame, 0] = image
        inputs["color_aug", frame, 0] = image * 0.9 + 0.05
    K = torch.eye(4).repeat(batch, 1, 1)
    K[:, 0, 0], K[:, 0, 2] = 0.58 * width, 0.5 * width
    K[:, 1, 1], K[:, 1, 2] = 1.92 * height, 0.5 * height
    partner = torch.eye(4).repeat(batch, 1, 1)
    partner[:, 0, 3] = -0.015
    inputs.update({"K": K, "inv_K": torch.linalg.inv(K), "stereo_T": partner})
    return {key: value.to(problem.device) for key, value in inputs.items()}
