"""One round: a few steps from the weights in force, and the averaged weights judged in shadow."""

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
from featdepth_training.refine.gate import HeldOutFigures, Verdict, judge
from featdepth_training.refine.online.buffer import Portion
from featdepth_training.refine.online.config import OnlineConfig
from featdepth_training.refine.online.replay import Replay
from featdepth_training.refine.steps import refinement_loop

#: Told after each piece of work: what is being done, and how many steps are. It sleeps, and may raise to end the round.
Between = Callable[[Literal["training", "judging"], int], None]


@dataclass(frozen=True)
class Outcome:
    """What a round came to.

    Attributes:
        model: the averaged weights, in evaluation mode.
        verdict: whether they may be offered.
        before, after: figures on the held-out clips, of the weights in force and of the new ones.
        scale_ratio: median depth of the new weights over those in force.
        scale_ratio_start: the same over the weights that the learner was started with.
        depth_change: mean change of log depth against the weights in force, each picture's scale aside.
        steps, skipped: optimiser steps done, and those left out because a number was not finite.
        seconds, processor_s: that the round took, sleep included, and of processor time.
    """

    model: FeatDepthModel
    verdict: Verdict
    before: HeldOutFigures
    after: HeldOutFigures
    scale_ratio: float
    scale_ratio_start: float
    depth_change: float
    steps: int
    skipped: int
    seconds: float
    processor_s: float

    def evidence(self) -> dict[str, Any]:
        """Plain values for ``evidence.json``."""
        values = {name: value for name, value in vars(self).items() if name not in ("model", "verdict")}
        values |= {"before": asdict(self.before), "after": asdict(self.after), **asdict(self.verdict)}
        return values


class Round:
    """A round that has not begun yet.

    Args:
        current: the weights in force, on the device; stay as they are.
        start: the weights that the learner was started with, frozen and in evaluation mode, on the device.
        training, measured: what it learns from, and what it is judged on.
        config: of the learner.
        lr: learning rate.
        seed: of order and augmentation.
        device: of the networks.
        between: see `Between`.
        replay: holds what is known of other places; None: nothing does.
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
        # Little that was seen says little of the rest; the more there is, the less counts what the start says.
        self._hold = config.hold * min(1.0, config.least_clips / max(training.clips, 1))
        self._judged = judging_plan(current, measured, config)

    def run(self) -> Outcome:
        """Measure, take the steps, measure again, judge.

        Raises:
            FeatDepthError: the steps diverge, or a picture cannot be read.
        """
        began, used = time.monotonic(), time.process_time()
        before, old_depths = self._figures(self._current)
        # The weights in force may have moved from the start already: the scale must not creep from round to round.
        start_depths = old_depths if self._start is self._current else self._figures(self._start)[1]
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
        ratio, ratio_start = scale_ratio(old_depths, new_depths), scale_ratio(start_depths, new_depths)
        change = depth_change(old_depths, new_depths)
        return Outcome(
            model=averaged,
            verdict=self._verdict(before, after, ratio, ratio_start, change),
            before=before,
            after=after,
            scale_ratio=ratio,
            scale_ratio_start=ratio_start,
            depth_change=change,
            steps=loop.step,
            skipped=loop.skipped,
            seconds=time.monotonic() - began,
            processor_s=time.process_time() - used,
        )

    def _verdict(
        self, before: HeldOutFigures, after: HeldOutFigures, ratio: float, ratio_start: float, change: float
    ) -> Verdict:
        config = self._config
        verdict = judge(before, after, ratio, limits=config.limits)
        reasons = list(verdict.reasons)
        gain = 1 - after.photometric / before.photometric
        if verdict.accepted and gain < config.least_gain:
            reasons.append(
                f"the photometric loss on held-out frames fell by {100 * gain:.2f} %, less than "
                f"{100 * config.least_gain:g} %: not worth a swap"
            )
        if not 1 / (1 + config.limits.scale) <= ratio_start <= 1 + config.limits.scale:
            reasons.append(
                f"the scale has moved by a factor of {ratio_start:.3f} since the start, more than "
                f"{100 * config.limits.scale:g} %"
            )
        if not change <= config.most_change:
            reasons.append(f"depth changed by {change:.3f} in log depth, more than {config.most_change:g}")
        return Verdict(not reasons, tuple(reasons))

    def _figures(self, model: FeatDepthModel) -> tuple[HeldOutFigures, list[torch.Tensor]]:
        def rested() -> Iterator[FrameBatch]:
            for batch in batches_of(self._measured, self._judged, self._device):
                yield batch
                self._between("judging", 0)

        return measure(model, rested(), self._judged)


def batches_of(portion: Portion, plan: TrainConfig, device: torch.device) -> Iterator[FrameBatch]:
    """Yield every clip of a portion once, as it is, two at a time."""
    dataset = ClipDataset(portion.sources, plan.data.sequence, None, plan.seed)
    for batch in validation_batches(dataset, [portion.size], 2):
        yield batch.to(device).in_floats()


def judging_plan(model: FeatDepthModel, portion: Portion, config: OnlineConfig) -> TrainConfig:
    """The configuration whose objective weights are measured by."""
    settings = replace(config.refinement(portion.size, config.lr, config.seed), steps=1)
    return train_config(model, settings, portion.size, False, "buffer", portion.clips)
