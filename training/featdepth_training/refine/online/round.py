"""One round: a few steps from the weights in use, and the evaluation of the averaged weights."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch

from featdepth_ros.errors import FeatDepthError
from featdepth_ros.models.base import FeatDepthModel
from featdepth_training.config.schema import TrainConfig
from featdepth_training.data.batch import FrameBatch
from featdepth_training.data.samples import ClipDataset, validation_batches
from featdepth_training.engine.step import StepResult
from featdepth_training.refine.config import train_config
from featdepth_training.refine.figures import depth_change, measure, scale_ratio
from featdepth_training.refine.gate import HeldOutFigures, Verdict, judge, worse_shape
from featdepth_training.refine.online.buffer import Portion
from featdepth_training.refine.online.config import OnlineConfig
from featdepth_training.refine.online.replay import Replay
from featdepth_training.refine.steps import refinement_loop

#: Called after each piece of work with the kind of work and the number of steps. It sleeps, and may raise an exception
#: to end the round.
Between = Callable[[Literal["training", "judging"], int], None]


@dataclass(frozen=True)
class Outcome:
    """Result of a round.

    Attributes:
        model: model with the averaged weights, in eval mode.
        verdict: whether the weights may be offered.
        at_start, before, after: figures on the held-out clips of the learner's initial weights, of the weights in use,
            and of the new ones.
        scale_ratio, scale_ratio_start: median depth of the new weights over that of the weights in use, and over that
            of the initial ones.
        depth_change, depth_change_start: mean change of log depth against the same, without each image's scale.
        steps, skipped: numbers of optimiser steps, and of those skipped because a value was not finite.
        seconds, processor_s: wall time of the round including sleep, and processor time.
    """

    model: FeatDepthModel
    verdict: Verdict
    at_start: HeldOutFigures
    before: HeldOutFigures
    after: HeldOutFigures
    scale_ratio: float
    scale_ratio_start: float
    depth_change: float
    depth_change_start: float
    steps: int
    skipped: int
    seconds: float
    processor_s: float

    def evidence(self) -> dict[str, Any]:
        """Plain values for ``evidence.json``."""
        values = {name: value for name, value in vars(self).items() if name not in ("model", "verdict")}
        values |= {name: asdict(values[name]) for name in ("at_start", "before", "after")}
        return {**values, **asdict(self.verdict)}


@dataclass(frozen=True)
class Moved:
    """Change of depth relative to other weights.

    Attributes:
        scale: ratio of the median depths.
        change: mean change of log depth, without each image's scale.
    """

    scale: float
    change: float


def round_verdict(
    config: OnlineConfig,
    at_start: HeldOutFigures,
    before: HeldOutFigures,
    after: HeldOutFigures,
    from_start: Moved,
    from_before: Moved,
) -> Verdict:
    """Return whether the weights of a round may be offered.

    They are compared with the weights in use and with the initial ones, so that small losses do not accumulate.

    Args:
        config: settings with the limits.
        at_start: figures of the initial weights.
        before: figures of the weights in use, on the same clips.
        after: figures of the new weights, on the same clips.
        from_start: change of depth from the initial weights.
        from_before: change of depth from the weights in use.
    """
    limits = config.limits
    verdict = judge(before, after, from_before.scale, limits=limits)
    reasons = list(verdict.reasons)
    gain = 1 - after.photometric / before.photometric
    if verdict.accepted and gain < config.least_gain:
        reasons.append(
            f"the photometric loss on held-out frames fell by {100 * gain:.2f} %, less than "
            f"{100 * config.least_gain:g} %: not worth a swap"
        )
    shape = worse_shape(at_start, after, limits)
    if shape and not worse_shape(before, after, limits):
        reasons.append(f"{shape} since the start")
    if not 1 / (1 + limits.scale) <= from_start.scale <= 1 + limits.scale:
        reasons.append(
            f"the scale has moved by a factor of {from_start.scale:.3f} since the start, more than "
            f"{100 * limits.scale:g} %"
        )
    for change, since in ((from_before.change, ""), (from_start.change, " since the start")):
        if not change <= config.most_change:
            reasons.append(f"depth changed by {change:.3f} in log depth{since}, more than {config.most_change:g}")
            break
    return Verdict(not reasons, tuple(reasons))


class Round:
    """One round, which `run` executes.

    Args:
        current: model with the weights in use, on the device; it is not changed.
        start: model with the initial weights of the learner, frozen and in eval mode, on the device.
        training, measured: clips for training and for evaluation.
        config: settings of the learner.
        lr: learning rate.
        seed: random seed of order and augmentation.
        device: device of the networks.
        between: see `Between`.
        replay: term that preserves depth in other places; None: there is none.
    """

    def __init__(
        self,
        current: FeatDepthModel,
        start: FeatDepthModel,
        training: Portion,
        measured: Portion,
        config: OnlineConfig,
        lr: float,
        seed: int,
        device: torch.device,
        between: Between,
        replay: Replay | None = None,
    ) -> None:
        self._replay = replay
        self._current, self._start, self._training, self._measured = current, start, training, measured
        self._config, self._device, self._between = config, device, between
        settings = config.refinement(training.size, lr, seed)
        plan = train_config(current, settings, training.size, False, "buffer", training.clips)
        self._plan = replace(
            plan,
            objective=replace(plan.objective, pseudo_depth=config.matching),
            optimiser=replace(plan.optimiser, encoder_lr_factor=config.encoder_lr),
        )
        # With few clips, unmatched pixels should keep the initial depth; with more clips, this matters less.
        self._hold = config.hold * min(1.0, config.least_clips / max(training.clips, 1))
        self._judged = judging_plan(current, measured, config)

    def run(self) -> Outcome:
        """Evaluate the weights, take the steps, evaluate again, and return the result with its verdict.

        Raises:
            FeatDepthError: the steps diverge, or an image cannot be read.
        """
        began, used = time.monotonic(), time.process_time()
        before, old_depths = self._figures(self._current)
        # The weights in use may already differ from the initial ones; changes must not accumulate over rounds.
        at_start, start_depths = before, old_depths
        if self._start is not self._current:
            at_start, start_depths = self._figures(self._start)
        model = copy.deepcopy(self._current).requires_grad_(True)
        loop = refinement_loop(
            model,
            self._plan,
            self._training.sources,
            self._device,
            self._start,
            self._config.anchor,
            self._replay,
            self._hold,
        )

        def on_step(_batches: list[FrameBatch], result: StepResult) -> None:
            if loop.diverged:
                raise FeatDepthError(
                    f"{loop.skipped_in_a_row} steps in a row were not finite (terms of the last: {result.terms})"
                )
            self._between("training", loop.step)

        end = loop.run(on_step)
        if end.failure is not None:
            raise end.failure
        averaged = loop.averaged_model().requires_grad_(False)
        after, new_depths = self._figures(averaged)
        moved = Moved(scale_ratio(old_depths, new_depths), depth_change(old_depths, new_depths))
        moved_start = Moved(scale_ratio(start_depths, new_depths), depth_change(start_depths, new_depths))
        return Outcome(
            model=averaged,
            verdict=round_verdict(self._config, at_start, before, after, moved_start, moved),
            at_start=at_start,
            before=before,
            after=after,
            scale_ratio=moved.scale,
            scale_ratio_start=moved_start.scale,
            depth_change=moved.change,
            depth_change_start=moved_start.change,
            steps=loop.step,
            skipped=loop.skipped,
            seconds=time.monotonic() - began,
            processor_s=time.process_time() - used,
        )

    def _figures(self, model: FeatDepthModel) -> tuple[HeldOutFigures, list[torch.Tensor]]:
        def rested() -> Iterator[FrameBatch]:
            for batch in batches_of(self._measured, self._judged, self._device):
                yield batch
                self._between("judging", 0)

        return measure(model, rested(), self._judged)


def batches_of(portion: Portion, plan: TrainConfig, device: torch.device) -> Iterator[FrameBatch]:
    """Yield every clip of a portion once, without augmentation, two at a time."""
    dataset = ClipDataset(portion.sources, plan.data.sequence, None, plan.seed)
    for batch in validation_batches(dataset, [portion.size], 2):
        yield batch.to(device).in_floats()


def judging_plan(model: FeatDepthModel, portion: Portion, config: OnlineConfig) -> TrainConfig:
    """Return the configuration with the objective of the evaluation."""
    settings = replace(config.refinement(portion.size, config.lr, config.seed), steps=1)
    return train_config(model, settings, portion.size, False, "buffer", portion.clips)
