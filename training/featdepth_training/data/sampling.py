"""The order of samples, which depends only on the seed and the step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from featdepth_training.config.schema import TrainConfig
from featdepth_training.data.source import SampleKey, Source
from featdepth_training.processes.distributed import Processes


class Plan:
    """The order of samples: sources by share, and every clip of a source once before any is repeated.

    Args:
        config: configuration of the run.
        sources: sources of clips.
        processes: processes among which the micro-batches of a step are divided.
    """

    def __init__(self, config: TrainConfig, sources: Sequence[Source], processes: Processes) -> None:
        self.config, self.processes = config, processes
        self._counts = [len(source.clips) for source in sources]
        shares = np.array([source.share for source in sources], np.float64)
        bounds = np.cumsum(shares / shares.sum())
        total = self._samples_before(config.total_steps)
        # A longer run begins with the same draws as a shorter one.
        draws = np.random.default_rng([config.seed, 14]).random(total) if len(shares) > 1 else np.zeros(total)
        self._source = np.minimum(np.searchsorted(bounds, draws, side="right"), len(shares) - 1)
        self._turn = np.zeros(total, np.int64)
        for number in range(len(shares)):
            mask = self._source == number
            self._turn[mask] = np.arange(int(mask.sum()))

    def _samples_before(self, step: int) -> int:
        number = 0
        for stage in self.config.stages:
            inside = min(step, stage.steps)
            number += inside * stage.batch_size * stage.accumulate * self.processes.count
            step -= inside
        return number

    def micro_batches(self, step: int) -> list[list[SampleKey]]:
        """Return this process's micro-batches of optimiser step ``step`` (from 0)."""
        stage = self.config.stage_at(step)
        size = stage.sizes[int(np.random.default_rng([self.config.seed, 13, step]).integers(len(stage.sizes)))]
        first, batches = self._samples_before(step), []
        for k in range(stage.accumulate):
            start = first + (k * self.processes.count + self.processes.rank) * stage.batch_size
            batches.append([self._key(n, size) for n in range(start, start + stage.batch_size)])
        return batches

    def _key(self, number: int, size: tuple[int, int]) -> SampleKey:
        source, turn = int(self._source[number]), int(self._turn[number])
        count = self._counts[source]
        clip = int(_order(self.config.seed, turn // count, count, source)[turn % count])
        return SampleKey(number, source, clip, *size)


@lru_cache(maxsize=64)
def _order(seed: int, epoch: int, count: int, source: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, 12, epoch, source]).permutation(count)


class StepSampler(Sampler[list[SampleKey]]):
    """Yields the micro-batches from step ``first`` to the end of the run, each as a list of keys."""

    def __init__(self, plan: Plan, first: int) -> None:
        self.plan, self.first = plan, first

    def __len__(self) -> int:
        config = self.plan.config
        return sum(config.stage_at(step).accumulate for step in range(self.first, config.total_steps))

    def __iter__(self) -> Iterator[list[SampleKey]]:
        for step in range(self.first, self.plan.config.total_steps):
            yield from self.plan.micro_batches(step)
