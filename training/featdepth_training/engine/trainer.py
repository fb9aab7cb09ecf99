"""The run: loads, steps, validates, saves, stops when asked, and goes on exactly where it was."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from featdepth_ros.errors import CheckpointError, FeatDepthError, RecordingError
from featdepth_ros.models.base import FeatDepthModel
from featdepth_training.config.loading import to_dict
from featdepth_training.config.schema import TrainConfig
from featdepth_training.data.augment import photometric
from featdepth_training.data.batch import FrameBatch
from featdepth_training.data.loader import train_loader
from featdepth_training.data.samples import ClipDataset
from featdepth_training.data.sampling import Plan
from featdepth_training.engine.checkpoint import CheckpointFolder, write_checkpoint
from featdepth_training.engine.ema import WeightAverage
from featdepth_training.engine.monitor import Monitor
from featdepth_training.engine.networks import start_model, training_mode
from featdepth_training.engine.optimiser import build_optimiser
from featdepth_training.engine.precision import keep_depthwise_in_fp32
from featdepth_training.engine.schedule import rate_factor
from featdepth_training.engine.step import ALONE, StepResult, train_step
from featdepth_training.engine.validator import Examiner
from featdepth_training.objectives.prediction import predict
from featdepth_training.objectives.terms import training_terms
from featdepth_training.processes.distributed import Processes
from featdepth_training.processes.signals import StopRequest

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
        speaks: whether this process is the one that tells of it.
    """

    steps: int
    complete: bool
    validation: dict[str, float]
    loss_share: float | None
    checkpoint: Path | None
    weights: Path
    speaks: bool = True


class Trainer:
    """One training run, or one process's part of it.

    Args:
        config: resolved.
        output: folder of the run.
        train, held_out: clips to learn from and to validate on.
        device: of the networks.
        finetune: weights to start from, see `networks.start_model`.
        processes: that share the run; the first writes files.
        resumed: a checkpoint follows, so that first weights need not be found.
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
        resumed: bool = False,
    ) -> None:
        self.config, self.output, self.processes = config, output, processes
        self.train_set = train
        self.device = device or torch.device("cpu")
        torch.manual_seed(config.seed)
        self.model: FeatDepthModel = start_model(config, finetune, resumed)
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
        self.examiner = Examiner(config, held_out, self.device)
        #: Step of the last checkpoint written.
        self.saved_at = -1
        #: Losses of the first and of the newest steps, as `CheckConfig` compares them.
        self.first_losses: list[float] = []
        self.last_losses: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides how the run goes on, in whichever of the processes.

        The order of samples, the schedule and every random number of a step are functions of seed and step.
        """
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
            **self.examiner.state_dict(),
            "processes": self.processes.count,
            "first_losses": self.first_losses,
            "last_losses": self.last_losses,
            "licence": self.model.info.licence,
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
            elif self.average is not None:  # the checkpoint kept none: it starts from the weights
                self.average = WeightAverage(self.model, self.average.decay)
            self.step = int(state["step"])
            self.skipped, self.skipped_in_a_row = int(state["skipped"]), int(state["skipped_in_a_row"])
            self.examiner.load_state_dict(state)
            self.first_losses = list(state.get("first_losses", []))
            self.last_losses = list(state.get("last_losses", []))
            torch.set_rng_state(state["rng"]["cpu"])
            if self.device.type == "cuda" and "cuda" in state["rng"]:
                torch.cuda.set_rng_state(state["rng"]["cuda"], self.device)
        except (KeyError, RuntimeError, ValueError) as error:
            raise misfit(error) from error
        licence = str(state.get("licence", ""))
        if licence.startswith(self.config.model.licence):  # it may name the weights the run started from as well
            self.model.info = self.model.info.with_(licence=licence)
        self._restore_rates()

    def _restore_rates(self) -> None:
        # The optimiser's state brings its old rates and betas; those of the present configuration count.
        fresh, _ = build_optimiser(self.model, self.config.optimiser)
        for group, wanted in zip(self.optimiser.param_groups, fresh.param_groups, strict=True):
            group.update({key: value for key, value in wanted.items() if key not in ("params", "lr")})

    def run(self, monitor: Monitor, stop: StopRequest | None = None) -> Outcome:
        """Train to the end of the last stage, or until ``stop`` is requested; then save and export.

        Raises:
            FeatDepthError: too many steps in a row were not finite, data cannot be read, memory ran out, or another
                process has ended. Whatever was done up to then is saved, unless another process has ended.
            CheckpointError: the disk refused a checkpoint.
        """
        try:
            self._run(monitor, stop)
        except torch.OutOfMemoryError as error:
            raise FeatDepthError(
                f"out of memory at step {self.step}: {str(error).splitlines()[0]} Lower batch_size of the stages (and "
                "raise accumulate by as much), or their sizes; go on with --resume"
            ) from error
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise _loader_ended(error) from error  # torch says so wherever the run happens to be
        return self._finish()

    def _run(self, monitor: Monitor, stop: StopRequest | None) -> None:
        training_mode(self.model, self.config.model)
        plan = Plan(self.config, self.train_set.sources, self.processes)
        loader = iter(train_loader(self.train_set, plan, self.step))
        while True:
            # After the checkpoint of the same step: validation may take long, and whoever wants the run to end may not
            # wait for it. A run that is resumed there validates first.
            if self.examiner.due(self.step):
                self._validate_or_save(monitor)
            if self.step >= self.config.total_steps:
                return
            batches, failure = self._next(loader)
            wanted = stop is not None and stop.requested is not None
            stopped, failed = self.processes.any(wanted, failure is not None)
            if stopped:
                self._save()
                return
            if failed:
                self._give_up(failure)
            result = self._one_step([batch.to(self.device).in_floats() for batch in batches])
            self.step += 1
            monitor.advance(self.processes.count * sum(batch.image_count for batch in batches))
            self._count(result, monitor)
            if _due(self.step, self.config.engine.log_every):
                self._log(result, monitor)
            if _due(self.step, self.config.engine.checkpoint_every) or self.step >= self.config.total_steps:
                self._save()

    def _next(self, loader: Iterator[FrameBatch | FeatDepthError]) -> tuple[list[FrameBatch], FeatDepthError | None]:
        """The micro-batches of a step, or why there are none."""
        batches: list[FrameBatch] = []
        for _ in range(self.config.stage_at(self.step).accumulate):
            try:
                batch = next(loader)
            except RuntimeError as error:
                if "DataLoader worker" not in str(error):
                    raise
                return [], _loader_ended(error)
            if isinstance(batch, FeatDepthError):
                return [], batch
            batches.append(batch)
        return batches, None

    def _give_up(self, failure: FeatDepthError | None) -> NoReturn:
        """Save what was done so far, and say why it goes no further."""
        self._save()
        self.processes.wait()  # the first process has saved before torchrun ends it
        where = f"the run is saved at step {self.step}; go on from there with --resume"
        if failure is None:
            raise FeatDepthError(f"another process could not read its data, and says why; {where}")
        raise FeatDepthError(f"{failure} Training goes no further: {where}") from failure

    def _validate_or_save(self, monitor: Monitor) -> None:
        try:
            self.validate(monitor)
        except RecordingError as error:
            self._save()
            raise FeatDepthError(
                f"{error} It is needed for validation: the run is saved at step {self.step}; go on from there with "
                "--resume"
            ) from error

    def _finish(self) -> Outcome:
        complete = self.step >= self.config.total_steps
        weights = self.export() if self.processes.first else self.output / WEIGHTS
        self.processes.wait()
        share = None
        if self.first_losses and sum(self.first_losses) > 0:
            first, last = (sum(v) / len(v) for v in (self.first_losses, self.last_losses))
            share = last / first
        newest, speaks = self.checkpoints.latest(), self.processes.first
        return Outcome(self.step, complete, self.examiner.figures, share, newest, weights, speaks)

    def _save(self) -> None:
        if self.processes.first and self.saved_at != self.step:
            self.checkpoints.save(self.state_dict(), self.step)
            self.saved_at = self.step

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
            row, self.skipped_in_a_row = self.skipped_in_a_row, 0
            self._save()
            raise FeatDepthError(
                f"{row} steps in a row had a loss or gradient that is not finite (terms of the last: {result.terms}); "
                "lower optimiser.lr, use engine.precision=fp32, or look at the data "
                f"({self.output / 'nonfinite'} holds such batches). The weights from before are saved as step "
                f"{self.step}; go on with --resume."
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

    def validate(self, monitor: Monitor) -> None:
        """Measure the averaged weights on held-out clips; keep the checkpoint when it is the best so far."""
        if self.processes.first:
            if self.examiner.examine(self.averaged_model(), self.step, monitor):
                self.checkpoints.save_best(self.state_dict())
        else:
            self.examiner.examined_at = self.step
        self.processes.wait()

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


def misfit(error: Exception) -> CheckpointError:
    """Say that a checkpoint is of other networks, in the first words of torch's long list."""
    found = " ".join(" ".join(line.split()) for line in str(error).strip().splitlines()[:3])
    return CheckpointError(
        f"the checkpoint does not fit this configuration: {found[:400]}. Resume with the configuration of the run, or "
        "start from its weights (model.safetensors) with --finetune"
    )


def _loader_ended(error: RuntimeError) -> FeatDepthError:
    reason = str(error).strip().splitlines()[0]
    return FeatDepthError(f"a loader process has ended ({reason}); if memory ran out, lower data.workers.")


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
