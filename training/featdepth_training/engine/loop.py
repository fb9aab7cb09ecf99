"""The loop of optimiser steps, which training and refinement share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.models.base import FeatDepthModel
from featdepth_training.config.schema import TrainConfig
from featdepth_training.data.augment import photometric
from featdepth_training.data.batch import FrameBatch
from featdepth_training.data.loader import train_loader
from featdepth_training.data.samples import ClipDataset
from featdepth_training.data.sampling import Plan
from featdepth_training.engine.ema import WeightAverage
from featdepth_training.engine.model_setup import training_mode
from featdepth_training.engine.optimiser import build_optimiser, rate_factor
from featdepth_training.engine.step import ALONE, StepResult, train_step
from featdepth_training.objectives.learned_cameras import LearnedCameras
from featdepth_training.processes.distributed import Processes
from featdepth_training.processes.signals import StopRequest, release

#: Maps a micro-batch (float images) and its images for the networks to scalar terms with their ``total``.
Terms = Callable[[FrameBatch, Tensor], dict[str, Tensor]]


@dataclass(frozen=True)
class LoopEnd:
    """Why a loop has ended; without any of these, it has reached its last step.

    Attributes:
        stopped: whether a stop was requested in some process.
        failed: whether some process could not read its data.
        failure: why this process could not read its data.
    """

    stopped: bool = False
    failed: bool = False
    failure: FeatDepthError | None = None


class TrainingLoop:
    """Optimiser steps over a dataset, by the schedule of a configuration.

    The order of samples, the learning rate and all random numbers of a step depend only on the seed and the step. So a
    loop with the state of another one continues exactly like that one.

    Args:
        model: model to train, on ``device``.
        config: resolved configuration.
        train_set: training clips.
        terms: computes the terms of one micro-batch.
        device: device of the networks.
        processes: processes that share every step.
        cameras: cameras that are learned; None: all are known.

    Attributes:
        step: number of optimiser steps, including skipped ones.
        skipped: steps whose loss or gradient was not finite.
        skipped_in_a_row: number of consecutive skipped steps up to now.
        average: average of the weights; None when ``engine.ema_decay`` is 0.
    """

    def __init__(
        self,
        model: FeatDepthModel,
        config: TrainConfig,
        train_set: ClipDataset,
        terms: Terms,
        device: torch.device,
        processes: Processes = ALONE,
        cameras: LearnedCameras | None = None,
    ) -> None:
        self.cameras = cameras
        self._rows = None if cameras is None else cameras.rows(train_set.sources)
        self.model, self.config, self.train_set, self.terms = model, config, train_set, terms
        self.device, self.processes = device, processes
        self.optimiser, self.parameters = build_optimiser(model, config.optimiser, cameras)
        decay = config.engine.ema_decay
        self.average = WeightAverage(model, decay) if decay > 0 else None
        self.step = self.skipped = self.skipped_in_a_row = 0

    def run(self, on_step: Callable[[list[FrameBatch], StepResult], None], stop: StopRequest | None = None) -> LoopEnd:
        """Take steps to the end of the last stage, until ``stop`` is requested, or until data cannot be read.

        Args:
            on_step: called after each step with its micro-batches and its result; an exception ends the loop.
            stop: checked before each step.
        """
        training_mode(self.model, self.config.model)
        loader = iter(
            train_loader(self.train_set, Plan(self.config, self.train_set.sources, self.processes), self.step)
        )
        while self.step < self.config.total_steps:
            batches, failure = self._next(loader)
            stop_wanted = stop is not None and stop.requested is not None
            stopped, failed = self.processes.any(stop_wanted, failure is not None)
            if stopped or failed:
                return LoopEnd(stopped, failed and not stopped, failure)
            batches = [batch.to(self.device).in_floats() for batch in batches]
            result = self.take_step(batches)
            self.step += 1
            self.skipped += not result.applied
            self.skipped_in_a_row = 0 if result.applied else self.skipped_in_a_row + 1
            release()
            on_step(batches, result)
        return LoopEnd()

    def _next(self, loader: Iterator[FrameBatch | FeatDepthError]) -> tuple[list[FrameBatch], FeatDepthError | None]:
        """Return the micro-batches of a step, or the error of the loader."""
        batches: list[FrameBatch] = []
        for _ in range(self.config.stage_at(self.step).accumulate):
            try:
                batch = next(loader)
            except RuntimeError as error:
                if not is_loader_error(error):
                    raise
                return [], loader_ended(error)
            if isinstance(batch, FeatDepthError):
                return [], batch
            batches.append(batch)
        return batches, None

    def take_step(self, batches: list[FrameBatch]) -> StepResult:
        """Take one optimiser step on this process's micro-batches (float images), without counting it."""
        config = self.config
        factor = rate_factor(self.step, config.total_steps, config.schedule)
        for group in self.optimiser.param_groups:
            group["lr"] = group["base_lr"] * factor
        first = self.step * len(batches) * self.processes.count + self.processes.rank
        numbers = [first + k * self.processes.count for k in range(len(batches))]
        micro = [partial(self._micro_batch, batch, number) for batch, number in zip(batches, numbers, strict=True)]
        result = train_step(
            self.model, micro, self.optimiser, self.parameters, config.optimiser.clip_norm, self.processes
        )
        if result.applied and self.average is not None:
            self.average.update(self.model)
        return result

    def _micro_batch(self, batch: FrameBatch, number: int) -> dict[str, Tensor]:
        """Return the terms of one micro-batch. Its random numbers depend only on the seed and ``number``."""
        seed = self.config.seed * 1_000_003 + number
        if self.cameras is not None and self._rows is not None:
            batch = self.cameras(batch, self._rows)
        seen = photometric(batch, self.config.data.augment, torch.Generator().manual_seed(seed))
        torch.manual_seed(seed)  # dropout, and the noise that breaks ties
        return self.terms(batch, seen)

    @property
    def diverged(self) -> bool:
        """Return whether more consecutive steps were not finite than ``engine.max_nonfinite`` allows."""
        return self.skipped_in_a_row > self.config.engine.max_nonfinite

    def averaged_model(self) -> FeatDepthModel:
        """Return a copy of the model with the averaged weights (or its own without an average), in eval mode."""
        averaged = copy.deepcopy(self.model)
        if self.average is not None:
            averaged.load_state_dict(self.average.values)
        return averaged.eval()

    def state_dict(self) -> dict[str, Any]:
        """Return the state from which the loop continues, in every process."""
        rng: dict[str, Any] = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.device)
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "rng": rng,
            "skipped": self.skipped,
            "skipped_in_a_row": self.skipped_in_a_row,
            **({} if self.cameras is None else {"cameras": self.cameras.state_dict()}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`, with the optimiser settings of the current configuration.

        Raises:
            KeyError, RuntimeError, ValueError: the state belongs to other networks.
        """
        self.model.load_state_dict(state["model"])
        if self.cameras is not None:
            self.cameras.load_state_dict(state["cameras"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None and state["average"] is not None:
            self.average.load_state_dict(state["average"])
        elif self.average is not None:  # the checkpoint has no average, so it starts from the weights
            self.average = WeightAverage(self.model, self.average.decay)
        self.step = int(state["step"])
        self.skipped, self.skipped_in_a_row = int(state["skipped"]), int(state["skipped_in_a_row"])
        torch.set_rng_state(state["rng"]["cpu"])
        if self.device.type == "cuda" and "cuda" in state["rng"]:
            torch.cuda.set_rng_state(state["rng"]["cuda"], self.device)
        self._restore_rates()

    def _restore_rates(self) -> None:
        # The optimiser's state contains the old rates and betas; the current configuration has priority.
        fresh, _ = build_optimiser(self.model, self.config.optimiser, self.cameras)
        for group, wanted in zip(self.optimiser.param_groups, fresh.param_groups, strict=True):
            group.update({key: value for key, value in wanted.items() if key not in ("params", "lr")})


def is_loader_error(error: RuntimeError) -> bool:
    """Return whether torch reports a dead loader process, which it can do at any line of the program."""
    return "DataLoader worker" in str(error)


def loader_ended(error: RuntimeError) -> FeatDepthError:
    """Return the error for a dead loader process."""
    reason = str(error).strip().splitlines()[0]
    return FeatDepthError(f"a loader process has ended ({reason}); if memory ran out, lower data.workers.")
