"""Learning rate as a pure function of the step, so that a resumed run needs no state for it."""

from __future__ import annotations

import math

from featdepth_training.config.schema import ScheduleConfig


def rate_factor(step: int, total_steps: int, config: ScheduleConfig) -> float:
    """Return the factor on every base learning rate at optimiser step ``step`` (from 0).

    Warm-up rises linearly from ``warmup_ratio`` and multiplies the schedule proper, which runs over the whole of
    ``total_steps``.
    """
    progress = min(step / max(total_steps, 1), 1.0)
    if config.kind == "cosine":
        factor = config.final_ratio + (1 - config.final_ratio) * 0.5 * (1 + math.cos(math.pi * progress))
    elif config.kind == "step":
        factor = config.gamma ** sum(progress >= milestone for milestone in config.milestones)
    else:
        factor = 1.0
    if step < config.warmup_steps:
        factor *= config.warmup_ratio + (1 - config.warmup_ratio) * step / config.warmup_steps
    return factor
