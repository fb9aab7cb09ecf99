"""Settings of a refinement, and its training configuration."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from featdepth_ros.errors import ConfigError
from featdepth_ros.models.base import FeatDepthModel
from featdepth_training.config.checks import check
from featdepth_training.config.schema import (
    AugmentConfig,
    DataConfig,
    EngineConfig,
    ModelConfig,
    OptimiserConfig,
    PreparedConfig,
    ScheduleConfig,
    SequenceConfig,
    StageConfig,
    TermsConfig,
    TrainConfig,
)
from featdepth_training.refine.gate import GateLimits

#: A target and its two neighbours.
FRAMES = 3
#: Augmentation of the reference: mild colour changes and mirroring, no geometry (docs/reference.md 1).
AUGMENT = AugmentConfig(
    zoom=(1.0, 1.0), shift=0.0, flip=0.5, stretch=0.0, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1,
    gamma=0.0, grey=0.0, blur=0.0, haze=0.0, noise=0.0, pair_jitter=0.0,
)  # fmt: skip


@dataclass(frozen=True)
class RefineConfig:
    """Settings of a refinement. It uses the stereo partner if the recording was opened with one.

    Attributes:
        size: (height, width) of the networks' input, pixels, multiples of 32; None: chosen as by `Estimator`.
        steps: optimiser steps; None: given by ``epochs``.
        epochs: passes over the clips; the reference has 20.
        lr: learning rate; it is halved in the last third.
        batch_size: clips per step.
        held_out: share of each recording's clips, from its end, for evaluation only.
        measured_clips: largest number of evaluated clips, evenly spaced.
        batch_norm: ``frozen`` keeps the running statistics of the weights. ``adapt`` trains with those of each batch,
            as the reference does. With two clips of one place, batch statistics are noisy, and the result does not fit
            the running statistics that are used afterwards.
        ema_decay: decay of the averaged weights, which are evaluated and written.
        anchor: weight of the term that keeps the scale of the old weights without a stereo partner.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
        seed: random seed of order, augmentation and dropout.
        accept_worse: write the weights even if they got worse.
        max_nonfinite: largest number of consecutive steps with a non-finite loss or gradient.
        checkpoint_every: steps between checkpoints, if a folder keeps them.
        limits: limits of the gate.
    """

    size: tuple[int, int] | None = None
    steps: int | None = None
    epochs: int = 20
    lr: float = 1e-4
    batch_size: int = 2
    held_out: float = 0.2
    measured_clips: int = 200
    batch_norm: Literal["frozen", "adapt"] = "frozen"
    ema_decay: float = 0.99
    anchor: float = 1.0
    device: str = "auto"
    seed: int = 0
    accept_worse: bool = False
    max_nonfinite: int = 20
    checkpoint_every: int = 50
    limits: GateLimits = field(default_factory=GateLimits)

    def __post_init__(self) -> None:
        if self.size is not None and (min(self.size) < 64 or self.size[0] % 32 or self.size[1] % 32):
            height, width = self.size
            raise ConfigError(f"the size is {height}x{width}; expected multiples of 32, at least 64 each")
        if not 0 < self.held_out < 1:
            raise ConfigError(f"held_out is {self.held_out}; expected a share between 0 and 1")
        if not self.lr > 0 or self.anchor < 0:
            raise ConfigError(f"lr is {self.lr}, anchor {self.anchor}; expected lr above 0 and anchor 0 or more")
        counts = (self.epochs, self.batch_size, self.measured_clips, self.checkpoint_every, self.steps or 1)
        if min(counts) < 1 or self.steps == 0:
            raise ConfigError("steps, epochs, batch_size, measured_clips and checkpoint_every must be at least 1")


def train_config(
    model: FeatDepthModel, settings: RefineConfig, size: tuple[int, int], stereo: bool, cache: str, clips: int
) -> TrainConfig:
    """Return the training configuration: the usual losses, no warm-up, half the learning rate in the last third."""
    info = model.info
    steps = settings.steps or math.ceil(settings.epochs * clips / settings.batch_size)
    has_features = "features" in model.nets
    parts = tuple(name for name, _ in model.named_children())
    config = TrainConfig(
        seed=settings.seed,
        model=ModelConfig(
            # The feature network of a joint model is frozen here, as that of mono_fm always is.
            architecture=info.architecture.replace("mono_fm_joint", "mono_fm"),
            name=info.name,
            initial="none",
            min_depth=info.min_depth,
            max_depth=info.max_depth,
            input_size=info.input_size,
            focal=info.focal,
            metres_per_unit=info.scale_factor,
            frozen_blocks=int(info.architecture == "compact"),
            frozen_statistics=parts if settings.batch_norm == "frozen" else (),
        ),
        data=DataConfig(
            kind="prepared",
            prepared=PreparedConfig(caches=(cache,), held_out=settings.held_out),
            sequence=SequenceConfig(frames=FRAMES, stereo=stereo, standing=0.0, reverse=0.0),
            augment=AUGMENT,
        ),
        stages=(StageConfig(steps, (size,), settings.batch_size),),
        objective=TermsConfig(photometric=1.0, features=1e-3 if has_features else 0.0, smoothness=1e-3),
        optimiser=OptimiserConfig("adam", settings.lr, 1.0, 1.0, weight_decay=0.0, clip_norm=35.0),
        schedule=ScheduleConfig("step", warmup_steps=0, milestones=(2 / 3,), gamma=0.5),
        engine=EngineConfig(ema_decay=settings.ema_decay, max_nonfinite=settings.max_nonfinite, tensorboard=False),
    )
    check(config)
    return config
