"""Settings of the online learner."""

from __future__ import annotations

from dataclasses import dataclass, field

from featdepth_ros.errors import ConfigError
from featdepth_training.refine.config import RefineConfig
from featdepth_training.refine.gate import GateLimits


@dataclass(frozen=True)
class QualityLimits:
    """Limits for usable segments.

    Attributes:
        dark: mean grey level (of 255) below which a frame is dark.
        flat: standard deviation of the grey levels (of 255) below which a frame shows nothing (covered lens, glare).
        spoilt: largest share of dark or flat frames in a segment.
        least_path: least length of the camera's path, metres, if the poses are metric. Pure rotation has no information
            on depth.
        camera: largest relative difference of focal lengths that counts as the same camera.
    """

    dark: float = 12.0
    flat: float = 5.0
    spoilt: float = 0.2
    least_path: float = 0.05
    camera: float = 0.02


@dataclass(frozen=True)
class OnlineConfig:
    """Settings of the learner.

    Attributes:
        steps: optimiser steps per round.
        batch_size: clips per step.
        lr: learning rate; it is halved in the last third of a round. Every consecutive rejected round halves it, down
            to an eighth.
        encoder_lr: factor on the learning rate of the encoder, which holds most of the earlier knowledge.
        ema_decay: decay of the averaged weights, which are evaluated and written.
        anchor: weight of the term that keeps the scale of the initial weights of the learner.
        matching: weight of the difference to depth by classical matching, up to each image's scale; 0: matched depth is
            used only for evaluation.
        hold: weight of the change of depth against the initial weights at unmatched pixels of matched frames. It is
            valid for `least_clips`, and is inversely proportional to the number of a round's training clips.
        replay_frames: number of rendered frames on which the depth of the initial weights is preserved; 0: none.
        replay_batch: number of these frames per step.
        replay_weight: weight of that term.
        least_clips, least_held_out: least numbers of training clips and of held-out clips for a round.
        new_clips: number of new clips before the next round after a rejected one; each further rejection doubles it.
        most_clips: largest number of a round's clips, in memory; half of them are the newest. The default is the number
            that its steps need, since depth is matched for each clip.
        measured_clips: number of evenly spaced held-out clips that evaluate a round.
        watched_clips: number of clips of one segment in probation.
        least_gain: least relative decrease of the photometric loss; less is not worth a swap.
        most_change: largest mean change of log depth, without each image's scale, against the current weights and
            against the initial ones.
        limits: limits of the gate. Its ``scale`` and ``shape`` also apply against the initial weights, on the same
            clips.
        quality: limits for usable segments.
        generations_mb: largest size of all generations' weights, megabytes; the oldest are removed first.
        refusals_kept: number of rejected generations whose evidence is kept.
        patience_s: seconds that an accepted generation waits for the node's decision before learning continues.
        gpu_budget: share of the time that the GPU may be busy.
        seed: random seed of order, augmentation and dropout.
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
        """Return the refinement settings of one round."""
        return RefineConfig(
            size=size,
            steps=self.steps,
            lr=lr,
            batch_size=self.batch_size,
            ema_decay=self.ema_decay,
            anchor=self.anchor,
            seed=seed,
        )
