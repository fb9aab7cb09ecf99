"""The run: loads, steps, validates, saves, stops when asked, and goes on exactly where it was."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from featdepth_ros.errors import CheckpointError, FeatDepthError
from featdepth_ros.models.base import FeatDepthModel
from featdepth_training.augment import photometric
from featdepth_training.batch import FrameBatch
from featdepth_training.checkpoint import CheckpointFolder, write_checkpoint
from featdepth_training.config import TrainConfig
from featdepth_training.distributed import Processes
from featdepth_training.ema import WeightAverage
from featdepth_training.loading import to_dict
from featdepth_training.monitor import Monitor
from featdepth_training.networks import build_optimiser, keep_depthwise_in_fp32, start_model, training_mode
from featdepth_training.pictures import depth_panel, warp_panel
from featdepth_training.prediction import predict
from featdepth_training.samples import ClipDataset, Plan, train_loader, validation_batches
from featdepth_training.schedule import rate_factor
from featdepth_training.signals import StopRequest
from featdepth_training.step import ALONE, StepResult, train_step
from featdepth_training.terms import training_terms
from featdepth_training.validation import validate

WEIGHTS = "model.safetensors"
#: Batches kept of steps that were not finite.
DUMPED_BATCHES = 3
#: Steps at the beginning and at the end whose mean losses are compared.
COMPARED_STEPS = 5


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        steps: done in all.
        complete: whether the last stage was finished.
        validation: figures of the last validation.
        loss_share: mean loss of the last steps over that of the first ones; None before both exist.
        checkpoint: the newest one.
        weights: the file written.
    """

    steps: int
    complete: bool
    validation: dict[str, float]
    loss_share: float | None
    checkpoint: Path | None
    weights: Path


class Trainer:
    """One training run, or one process's part of it.

    Args:
        config: resolved.
        output: folder of the run.
        train, held_out: clips to learn from and to validate on.
        device: of the networks.
        finetune: weights to start from, see `networks.start_model`.
        processes: that share the run; the first writes files.
    """

    def __init__(
        self,
        config: TrainConfig,
        output: Path,
        train: ClipDataset,
        held_out: ClipDataset,
        device: torch.device | None = None,
        finetune: str | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self.config, self.output, self.processes = config, output, processes
        self.train_set, self.held_out = train, held_out
        self.device = device or torch.device("cpu")
        torch.manual_seed(config.seed)
        self.model: FeatDepthModel = start_model(config, finetune)
        if self.device.type == "cpu" and config.engine.precision == "bf16":
            keep_depthwise_in_fp32(self.model)
        format_ = torch.channels_last if config.engine.channels_last else torch.contiguous_format
        self.model.to(device=self.device, memory_format=format_)  # type: ignore[call-overload]
        self._predict = torch.compile(predict, dynamic=False) if config.engine.compile else predict
        self.optimiser, self.parameters = build_optimiser(self.model, config.optimiser)
        decay = config.engine.ema_decay
        self.average = WeightAverage(self.model, decay) if decay > 0 else None
        self.checkpoints = CheckpointFolder(output / "checkpoints", config.engine.keep_last)
        self.step = 0
        self.skipped = 0
        self.skipped_in_a_row = 0
        self.best = float("inf")
        #: What `best` was measured on: figures of other clips or sizes are not compared.
        self.measured_on = _measured_on(config, held_out)
        self.validation: dict[str, float] = {}
        #: Losses of the first and of the newest steps, as `CheckConfig` compares them.
        self.first_losses: list[float] = []
        self.last_losses: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides how the run goes on."""
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
            "best": self.best,
            "measured_on": self.measured_on,
            "validation": self.validation,
            "first_losses": self.first_losses,
            "last_losses": self.last_losses,
            "config": to_dict(self.config),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`.

        Raises:
            CheckpointError: the state is of other networks.
        """
        try:
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            if self.average is not None and state["average"] is not None:
                self.average.load_state_dict(state["average"])
            self.step = int(state["step"])
            self.skipped, self.skipped_in_a_row = int(state["skipped"]), int(state["skipped_in_a_row"])
            if state.get("measured_on") == self.measured_on:
                self.best = float(state["best"])
            self.validation = dict(state["validation"])
            self.first_losses, self.last_losses = list(state.get("first_losses", [])), list(state.get("last_losses", []))
            torch.set_rng_state(state["rng"]["cpu"])
            if self.device.type == "cuda" and "cuda" in state["rng"]:
                torch.cuda.set_rng_state(state["rng"]["cuda"], self.device)
        except (KeyError, RuntimeError, ValueError) as error:
            first = str(error).strip().splitlines()[0]
            raise CheckpointError(f"the checkpoint does not fit this configuration: {first}") from error
        self._restore_rates()

    def _restore_rates(self) -> None:
        # The optimiser's state brings its old base rates; those of the present configuration count.
        fresh, _ = build_optimiser(self.model, self.config.optimiser)
        for group, wanted in zip(self.optimiser.param_groups, fresh.param_groups, strict=True):
            group["base_lr"], group["weight_decay"] = wanted["base_lr"], wanted["weight_decay"]

    def run(self, monitor: Monitor, stop: StopRequest | None = None) -> Outcome:
        """Train to the end of the last stage, or until ``stop`` is requested; then save and export.

        Raises:
            FeatDepthError: too many steps in a row were not finite.
            CheckpointError: the disk refused a checkpoint.
        """
        engine = self.config.engine
        training_mode(self.model, self.config.model)
        plan = Plan(self.config, self.train_set.sources, self.processes)
        loader = iter(train_loader(self.train_set, plan, self.step))
        while self.step < self.config.total_steps:
            batches = list(itertools.islice(loader, self.config.stage_at(self.step).accumulate))
            result = self._one_step([batch.to(self.device).in_floats() for batch in batches])
            self.step += 1
            monitor.advance(self.processes.count * sum(batch.image_count for batch in batches))
            self._count(result, monitor)
            if _due(self.step, engine.log_every):
                self._log(result, monitor)
            if _due(self.step, engine.validate_every):
                self.validate(monitor)
            stopped = self.processes.any(stop is not None and stop.requested is not None)
            if _due(self.step, engine.checkpoint_every) or stopped:
                self._save()
            if stopped:
                break
        return self._finish(monitor)

    def _finish(self, monitor: Monitor) -> Outcome:
        complete = self.step >= self.config.total_steps
        if complete and not _due(self.step, self.config.engine.validate_every):
            self.validate(monitor)
        if complete and not _due(self.step, self.config.engine.checkpoint_every):
            self._save()
        weights = self.export() if self.processes.first else self.output / WEIGHTS
        self.processes.wait()
        share = None
        if self.first_losses and sum(self.first_losses) > 0:
            first, last = (sum(v) / len(v) for v in (self.first_losses, self.last_losses))
            share = last / first
        return Outcome(self.step, complete, self.validation, share, self.checkpoints.latest(), weights)

    def _save(self) -> None:
        if self.processes.first:
            self.checkpoints.save(self.state_dict(), self.step)

    def _one_step(self, batches: list[FrameBatch]) -> StepResult:
        """One optimiser step on this process's micro-batches."""
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
        if not result.applied:
            self._dump(batches, result)
        elif self.average is not None:
            self.average.update(self.model)
        return result

    def _micro_batch(self, batch: FrameBatch, number: int) -> dict[str, Tensor]:
        """The terms of one micro-batch. What is random in it depends on the seed and ``number`` alone."""
        seed = self.config.seed * 1_000_003 + number
        seen = photometric(batch, self.config.data.augment, torch.Generator().manual_seed(seed))
        torch.manual_seed(seed)  # dropout, and the noise that breaks ties
        return training_terms(self.model, batch, seen, self.config, self._predict)[0]

    def _dump(self, batches: list[FrameBatch], result: StepResult) -> None:
        """Keep the first few batches whose step was not finite, to look at."""
        if self.skipped < DUMPED_BATCHES:
            for rank, batch in enumerate(batches):
                contents = {**vars(batch), "terms": result.terms, "step": self.step}
                name = f"step_{self.step:08d}_{self.processes.rank}_{rank}.pt"
                write_checkpoint(self.output / "nonfinite" / name, contents)

    def _count(self, result: StepResult, monitor: Monitor) -> None:
        if result.applied:
            self.skipped_in_a_row = 0
            total = result.terms["total"]
            if len(self.first_losses) < COMPARED_STEPS:
                self.first_losses.append(total)
            self.last_losses = [*self.last_losses, total][-COMPARED_STEPS:]
            return
        self.skipped += 1
        self.skipped_in_a_row += 1
        monitor.say(f"step {self.step}: loss or gradient not finite, step skipped ({self.skipped} in all)")
        if self.skipped_in_a_row > self.config.engine.max_nonfinite:
            raise FeatDepthError(
                f"{self.skipped_in_a_row} steps in a row had a loss or gradient that is not finite "
                f"(terms of the last: {result.terms}); lower optimiser.lr, use engine.precision=fp32, or look at the "
                f"data ({self.output / 'nonfinite'} holds such batches). The newest checkpoint is from before."
            )

    def _log(self, result: StepResult, monitor: Monitor) -> None:
        total = result.terms["total"]
        shares = {f"share/{k}": v / total for k, v in result.terms.items() if k != "total" and total}
        values = {
            **result.terms,
            **shares,
            "gradient_norm": result.gradient_norm,
            "lr": max(group["lr"] for group in self.optimiser.param_groups),
            "images_per_s": monitor.rate(),
            "skipped": self.skipped,
        }
        monitor.record("train", self.step, values)

    def averaged_model(self) -> FeatDepthModel:
        """A copy of the model with the averaged weights (the model's own when there is no average)."""
        averaged = copy.deepcopy(self.model)
        if self.average is not None:
            averaged.load_state_dict(self.average.values)
        return averaged.eval()

    def validate(self, monitor: Monitor) -> dict[str, float]:
        """Measure the averaged weights on held-out clips; keep the checkpoint when it is the best so far.

        The clips and sizes are the same throughout the run: those of its last stage.
        """
        if not self.processes.first:
            self.processes.wait()
            return {}
        stage = self.config.stages[-1]
        held_out = validation_batches(self.held_out, stage.sizes, stage.batch_size)
        batches = (batch.to(self.device).in_floats() for batch in held_out)
        model = self.averaged_model()
        names = [source.name for source in self.held_out.sources]
        low_precision = self.config.engine.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=low_precision):
            self.validation, shown = validate(model, batches, names, self.config)
        monitor.record("validation", self.step, self.validation)
        keys = ("photometric", "reconstruction", "abs_rel", "a1", "abs_rel_median_scaled", "rotation_deg", "translation_percent")
        monitor.say(
            f"step {self.step}: " + ", ".join(f"{k} {self.validation[k]:.5f}" for k in keys if k in self.validation)
        )
        if shown is not None:
            monitor.picture("validation", self.step, depth_panel(*shown, self.model.info))
            if self.config.objective.selfsupervised and monitor.shows_pictures:
                monitor.picture("warps", self.step, warp_panel(model, *shown, self.config))
        figure = self.validation.get(self._criterion(), float("inf"))
        if figure < self.best:
            self.best = figure
            self.checkpoints.save_best(self.state_dict())
        self.processes.wait()
        return self.validation

    def _criterion(self) -> str:
        objective = self.config.objective
        if objective.supervised:
            return "abs_rel"
        return "photometric" if objective.selfsupervised else "reconstruction"

    def export(self) -> Path:
        """Write the averaged weights to ``<output>/model.safetensors``."""
        from featdepth_ros.models.checkpoints import save_model

        model = self.averaged_model().to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        model.info = model.info.with_(
            training=f"{self.config.data.kind} data, "
            f"{'supervised' if self.config.objective.supervised else 'self-supervised'}; "
            f"seed {self.config.seed}, {self.step} steps"
        )
        path = self.output / WEIGHTS
        save_model(path, model)
        return path


def _measured_on(config: TrainConfig, held_out: ClipDataset) -> str:
    """Tell what validation is made of, in one line."""
    sources = ", ".join(f"{source.name} {len(source.clips)}" for source in held_out.sources)
    return f"{sources}; {[list(size) for size in config.stages[-1].sizes]}"


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
