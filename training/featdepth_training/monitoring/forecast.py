"""How long a run will take here, told after its first steps; validation apart."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from featdepth_training.config.schema import TrainConfig

#: Steps that warm up (caches, kernels, loader processes), and those that are measured after them.
WARM_UP, MEASURED = 2, 8


def duration(seconds: float) -> str:
    """Seconds in words: ``40 s``, ``7.5 min``, ``18 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Forecast:
    """Measures the first steps and validations of a run, and says in words when it will end.

    Args:
        config: of the run; stages of other sizes and batches take as much longer as they have more pixels.
        step: at which the run begins, or goes on.
    """

    def __init__(self, config: TrainConfig, step: int) -> None:
        self.config, self.first = config, step
        self._began = 0.0
        self._apart = 0.0
        self._seconds_a_pixel: float | None = None

    def stepped(self, step: int) -> str | None:
        """Take notice of a step; returns a line to print once enough of them were measured."""
        done = step - self.first
        if done == WARM_UP:
            self._began, self._apart = time.monotonic(), 0.0
        if done != WARM_UP + MEASURED or step >= self.config.total_steps:
            return None
        spent = time.monotonic() - self._began - self._apart
        self._seconds_a_pixel = spent / sum(self._pixels(k) for k in range(step - MEASURED, step))
        line = f"{duration(self._left(step))} for the {self.config.total_steps - step} steps that are left"
        count = self._validations(step)
        if count:
            line += f"; {count} validations come on top, the first will tell how long they take"
        return f"about {line}"

    def paused(self, seconds: float) -> None:
        """Take notice of time between steps that belongs to none: a validation, a checkpoint."""
        self._apart += seconds

    def validated(self, step: int, seconds: float) -> str | None:
        """Take notice of the first validation; returns a line to print, once the steps were measured."""
        if self._seconds_a_pixel is None or step >= self.config.total_steps:
            return None
        left, count = self._left(step), self._validations(step)
        whole = left + count * seconds
        self._seconds_a_pixel = None  # it is said once
        end = datetime.now() + timedelta(seconds=whole)
        return (
            f"a validation takes {duration(seconds)}; about {duration(whole)} are left with the {count} to come, until "
            f"about {end:%a %H:%M}"
        )

    def _pixels(self, step: int) -> float:
        """Pixels of a step's samples, of one process, the mean over its stage's sizes."""
        stage = self.config.stage_at(step)
        pixels = sum(height * width for height, width in stage.sizes) / len(stage.sizes)
        return stage.batch_size * stage.accumulate * pixels

    def _left(self, step: int) -> float:
        """Seconds of the steps from ``step`` on."""
        assert self._seconds_a_pixel is not None
        total, first = 0.0, 0
        for stage in self.config.stages:
            last = first + stage.steps
            total += max(0, last - max(first, step)) * self._pixels(first)
            first = last
        return total * self._seconds_a_pixel

    def _validations(self, step: int) -> int:
        every, total = self.config.engine.validate_every, self.config.total_steps
        if every <= 0:
            return 1
        return total // every - step // every + (total % every > 0)
