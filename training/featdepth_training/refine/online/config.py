"""Settings of the online learner."""

from __future__ import annotations

from dataclasses import dataclass, field

from featdepth_ros.errors import ConfigError
from featdepth_training.refine.config import RefineConfig
from featdepth_training.refine.gate import GateLimits


@dataclass(frozen=True)
class QualityLimits:
    """Which segments may teach and judge.

    Attributes:
        dark: mean level of a frame, of 255, below which it is dark.
        flat: standard deviation of its levels, of 255, below which it shows nothing: a covered lens, or glare.
        spoilt: share of a segment's frames that may be dark or flat.
        least_path: the camera's path by the poses, metres. A camera that only turns tells nothing of depth. It holds
            where the poses are metric.
        camera: largest difference of the focal lengths, as a share, within one camera.
    """

    dark: float = 12.0
    flat: float = 5.0
    spoilt: float = 0.2
    least_path: float = 0.05
    camera: float = 0.02


@dataclass(frozen=True)
class OnlineConfig:
    """How the learner works.

    Attributes:
        steps: optimiser steps of a round.
        batch_size: clips a step.
        lr: learning rate; half of it in the last third of a round. Every refused round in a row halves it, down to an
            eighth.
        encoder_lr: factor on the rate of the encoder, in which most of what was known lies.
        ema_decay: of the averaged weights that are judged and written.
        anchor: weight of the term that keeps the scale of the weights that the learner was started with.
        matching: weight of the difference to depth by classical matching, up to each picture's scale; 0: it teaches
            nothing, and judges alone.
        hold: weight of the change of depth against the weights of the start where nothing was matched, in frames where
            something was. It holds for `least_clips`, and falls as one over the clips that a round learns from.
        replay_frames: rendered frames on which the weights must go on saying what those of the start say; 0: none.
        replay_batch: of these, a step.
        replay_weight: of that term.
        least_clips, least_held_out: clips to learn from and to be judged on, without which no round begins.
        new_clips: clips that must have come since a refused round before the next; doubled by each further refusal.
        most_clips: clips that one round draws from, held in memory; half of them the newest. The default is what its
            steps take: depth is matched for each of them.
        measured_clips: held-out clips that a round is judged on, evenly spaced.
        watched_clips: clips of one segment that probation measures.
        least_gain: share by which the photometric loss must fall: a smaller gain is not worth a swap.
        most_change: largest mean change of log depth, each picture's scale aside, against the weights in force and
            against those of the start.
        limits: of the gate. Its ``scale`` and ``shape`` hold against the weights of the start too, on the same clips.
        quality: of segments.
        generations_mb: disk for the weights of generations, megabytes; the oldest go first.
        refusals_kept: refused generations whose evidence is kept.
        patience_s: how long an accepted generation waits for the node's decision before learning goes on, seconds.
        gpu_budget: share of the time that the GPU may be busy.
        seed: of order, augmentation and dropout.
    """

    steps: int = 40
    batch_size: int = 2
    lr: float = 1e-4
    encoder_lr: float = 0.3
    ema_decay: float = 0.99
    anchor: float = 1.0
    matching: float = 1.0
    hold: float = 1.0
    replay_frames: int = 48
    replay_batch: int = 4
    replay_weight: float = 0.5
    least_clips: int = 24
    least_held_out: int = 6
    new_clips: int = 12
    most_clips: int = 80
    measured_clips: int = 24
    watched_clips: int = 4
    least_gain: float = 0.003
    most_change: float = 0.5
    limits: GateLimits = field(default_factory=GateLimits)
    quality: QualityLimits = field(default_factory=QualityLimits)
    generations_mb: float = 500.0
    refusals_kept: int = 100
    patience_s: float = 60.0
    gpu_budget: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        counts = {
            name: getattr(self, name)
            for name in ("steps", "batch_size", "least_clips", "least_held_out", "new_clips", "most_clips")
            + ("measured_clips", "watched_clips")
        }
        for name, value in counts.items():
            if value < 1:
                raise ConfigError(f"{name} is {value}; expected at least 1")
        if self.most_clips < self.least_clips or self.measured_clips < self.least_held_out:
            raise ConfigError(
                f"most_clips is {self.most_clips} and measured_clips {self.measured_clips}; expected at least "
                f"least_clips ({self.least_clips}) and least_held_out ({self.least_held_out})"
            )
        if min(self.lr, self.encoder_lr) <= 0 or not 0 < self.gpu_budget <= 1:
            raise ConfigError(
                f"lr is {self.lr}, encoder_lr {self.encoder_lr}, gpu_budget {self.gpu_budget}; expected above 0, and a "
                "share up to 1"
            )

    def refinement(self, size: tuple[int, int], lr: float, seed: int) -> RefineConfig:
        """The settings of one round's refinement."""
        return RefineConfig(
            size=size,
            steps=self.steps,
            lr=lr,
            batch_size=self.batch_size,
            ema_decay=self.ema_decay,
            anchor=self.anchor,
            seed=seed,
        )
