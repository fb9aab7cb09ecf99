"""An estimate of the remaining time of a run, from its first steps. Validation is measured separately."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from featdepth_training.config.schema import TrainConfig

#: Number of warm-up steps (caches, kernels, loader processes), and of the measured steps after them.
WARM_UP, MEASURED = 2, 8


def duration(seconds: float) -> str:
    """Return a duration as text: ``40 s``, ``7.5 min``, ``18 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Forecast:
    """Measures the first steps and the first validation of a run, and estimates when the run will end.

    Args:
        config: configuration of the run. The time of a step is proportional to the pixels of its stage.
        step: step at which the run begins or resumes.
    """

    def __init__(self, config: TrainConfig, step: int) -> None:
        self.config, self.first = config, step
        self._began = 0.0
        self._apart = 0.0
        self._seconds_a_pixel: float | None = None

    def stepped(self, step: int) -> str | None:
        """Record the end of a step; return a line to print once enough steps were measured, else None."""
        done = step - self.first
        if done == WARM_UP:
            self._began, self._apart = time.monotonic(), 0.0
        if done != WARM_UP + MEASURED or step >= self.config.total_steps:
            return None
        spent = time.monotonic() - self._began - self._apart
        self._seconds_a_pixel = spent / sum(self._pixels(k) for k in range(step - MEASURED, step))
        line = f"{duration(self._left(step))} for the remaining {self.config.total_steps - step} steps"
        count = self._validations(step)
        if count:
            line += f", plus {_validations(count)}, whose time is known after the first one"
        return f"about {line}"

    def paused(self, seconds: float) -> None:
        """Exclude time between steps from the measurement: a validation or a checkpoint."""
        self._apart += seconds

    def validated(self, step: int, seconds: float) -> str | None:
        """Record the first validation; return a line to print if the steps were measured before, else None."""
        if self._seconds_a_pixel is None or step >= self.config.total_steps:
            return None
        left, count = self._left(step), self._validations(step)
        whole = left + count * seconds
        self._seconds_a_pixel = None  # the line is printed once
        end = datetime.now() + timedelta(seconds=whole)
        return (
            f"a validation takes {duration(seconds)}; the run takes about {duration(whole)} more with "
            f"{_validations(count)}, until about {end:%a %H:%M}"
        )

    def _pixels(self, step: int) -> float:
        """Return the number of pixels in a step's samples, for one process, as the mean over the sizes of its stage."""
        stage = self.config.stage_at(step)
        pixels = sum(height * width for height, width in stage.sizes) / len(stage.sizes)
        return stage.batch_size * stage.accumulate * pixels

    def _left(self, step: int) -> float:
        """Return the estimated seconds of all steps from ``step`` on."""
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


def _validations(count: int) -> str:
    return f"{count} validation" if count == 1 else f"{count} validations"
