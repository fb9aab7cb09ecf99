"""The training run: steps, validates, saves, stops on request, and resumes exactly."""

from __future__ import annotations

import time
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
from featdepth_training.data.batch import FrameBatch
from featdepth_training.data.samples import ClipDataset
from featdepth_training.engine.checkpoint import CheckpointFolder, write_checkpoint
from featdepth_training.engine.loop import TrainingLoop, is_loader_error, loader_ended
from featdepth_training.engine.model_setup import start_model
from featdepth_training.engine.precision import keep_depthwise_in_fp32
from featdepth_training.engine.step import ALONE, StepResult
from featdepth_training.engine.validator import ValidationStoppedError, Validator
from featdepth_training.monitoring.forecast import Forecast
from featdepth_training.monitoring.monitor import Monitor
from featdepth_training.objectives.camera_files import learned_cameras, write_cameras
from featdepth_training.objectives.prediction import predict
from featdepth_training.objectives.terms import training_terms
from featdepth_training.processes.distributed import Processes
from featdepth_training.processes.signals import StopRequest, uninterrupted

WEIGHTS, CAMERAS = "model.safetensors", "cameras.yaml"
#: Number of stored batches of steps that were not finite.
DUMPED_BATCHES = 3
#: Number of steps at the beginning and at the end whose mean losses are compared.
COMPARED_STEPS = 5


@dataclass(frozen=True)
class Outcome:
    """Result of a run.

    Attributes:
        steps: total number of steps.
        complete: whether the last stage was finished.
        validation: figures of the last validation.
        loss_share: mean loss of the last steps over that of the first ones; None with too few steps.
        checkpoint: the newest checkpoint.
        weights: file of the exported weights.
        first_process: whether this is the first of several processes, which reports.
    """

    steps: int
    complete: bool
    validation: dict[str, float]
    loss_share: float | None
    checkpoint: Path | None
    weights: Path
    first_process: bool = True


class Trainer:
    """One training run, or the part of one process in it.

    Args:
        config: resolved configuration.
        output: folder of the run.
        train, held_out: clips for training and for validation.
        device: device of the networks.
        finetune: weights to start from, see `model_setup.start_model`.
        processes: processes that share the run; the first one writes files.
        resumed: whether a checkpoint follows, so that initial weights are not read.
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
        self.device = device or torch.device("cpu")
        torch.manual_seed(config.seed)
        self.model: FeatDepthModel = start_model(config, finetune, resumed)
        if self.device.type == "cpu" and config.engine.precision == "bf16":
            keep_depthwise_in_fp32(self.model)
        format_ = torch.channels_last if config.engine.channels_last else torch.contiguous_format
        self.model.to(device=self.device, memory_format=format_)  # type: ignore[call-overload]
        self._predict = torch.compile(predict, dynamic=False) if config.engine.compile else predict
        self.cameras = learned_cameras(config, train.sources)
        if self.cameras is not None:
            self.cameras.to(self.device)
        self.loop = TrainingLoop(self.model, config, train, self._terms, self.device, processes, self.cameras)
        self.checkpoints = CheckpointFolder(output / "checkpoints", config.engine.keep_last)
        self.validator = Validator(config, held_out, self.device, self.cameras)
        #: Step of the last written checkpoint.
        self.saved_at = -1
        #: Losses of the first and of the newest steps, as `CheckConfig` compares them.
        self.first_losses: list[float] = []
        self.last_losses: list[float] = []
        self.forecast = Forecast(config, 0)
        self._stop: StopRequest | None = None

    def _terms(self, batch: FrameBatch, seen: Tensor) -> dict[str, Tensor]:
        return training_terms(self.model, batch, seen, self.config, self._predict)[0]

    @property
    def step(self) -> int:
        """Optimiser steps done."""
        return self.loop.step

    def state_dict(self) -> dict[str, Any]:
        """Return the state from which the run continues, in every process."""
        return {
            **self.loop.state_dict(),
            **self.validator.state_dict(),
            "processes": self.processes.count,
            "first_losses": self.first_losses,
            "last_losses": self.last_losses,
            "licence": self.model.info.licence,
            "config": to_dict(self.config),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state of `state_dict`.

        Raises:
            CheckpointError: the state belongs to other networks.
        """
        try:
            self.loop.load_state_dict(state)
            self.validator.load_state_dict(state)
            self.first_losses = list(state.get("first_losses", []))
            self.last_losses = list(state.get("last_losses", []))
        except (KeyError, RuntimeError, ValueError) as error:
            raise checkpoint_mismatch(error) from error
        licence = str(state.get("licence", ""))
        if licence.startswith(self.config.model.licence):  # it may name the weights the run started from as well
            self.model.info = self.model.info.with_(licence=licence)

    def run(self, monitor: Monitor, stop: StopRequest | None = None) -> Outcome:
        """Train to the end of the last stage, or until ``stop`` is requested; then save and export.

        Raises:
            FeatDepthError: too many consecutive steps were not finite, data cannot be read, memory ran out, or another
                process has ended. The state up to then is saved, unless another process has ended.
            CheckpointError: a checkpoint could not be written.
            KeyboardInterrupt: a second signal arrived; a single process has saved the last complete step.
        """
        self._stop, self.forecast = stop, Forecast(self.config, self.step)
        try:
            self._run(monitor, stop)
        except KeyboardInterrupt:
            if self.processes.count == 1 and self.step:
                self._save()
                monitor.say(f"stopped at once; the run is saved at step {self.step}, continue with --resume")
            raise
        except torch.OutOfMemoryError as error:
            raise FeatDepthError(
                f"out of memory at step {self.step}: {str(error).splitlines()[0]} Lower batch_size of the stages (and "
                "raise accumulate by as much), or their sizes; continue with --resume"
            ) from error
        except RuntimeError as error:
            if not is_loader_error(error):
                raise
            raise loader_ended(error) from error  # torch raises this at any line of the program
        return self._finish()

    def _run(self, monitor: Monitor, stop: StopRequest | None) -> None:
        if self.validator.due(self.step):  # the run was stopped between a checkpoint and its validation
            self._validate_or_save(monitor)
        end = self.loop.run(partial(self._on_step, monitor), stop)
        if end.stopped:
            self._save()
        elif end.failed:
            self._give_up(end.failure)

    def _on_step(self, monitor: Monitor, batches: list[FrameBatch], result: StepResult) -> None:
        """Count, log and save; validate at the end, because a stop request does not wait for the validation."""
        monitor.advance(self.processes.count * sum(batch.image_count for batch in batches))
        if result.applied:
            self._keep_loss(result.terms["total"])
        else:
            self._report_skipped(batches, result, monitor)
        if _due(self.step, self.config.engine.log_every):
            self._log(result, monitor)
        forecast = self.forecast.stepped(self.step)
        if forecast is not None:
            monitor.say(forecast)
        if _due(self.step, self.config.engine.checkpoint_every) or self.step >= self.config.total_steps:
            self._save()
        if self.validator.due(self.step):
            self._validate_or_save(monitor)

    def _give_up(self, failure: FeatDepthError | None) -> NoReturn:
        """Save the run, and raise the error that ends it."""
        self._save()
        self.processes.wait()  # the first process must save before torchrun ends it
        where = f"the run is saved at step {self.step}; continue from there with --resume"
        if failure is None:
            raise FeatDepthError(f"another process could not read its data, see its message; {where}")
        raise FeatDepthError(f"{failure} Training ends: {where}") from failure

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
        newest = self.checkpoints.latest()
        return Outcome(self.step, complete, self.validator.figures, share, newest, weights, self.processes.first)

    def _save(self) -> None:
        if self.processes.first and self.saved_at != self.step:
            began = time.monotonic()
            with uninterrupted():
                self.checkpoints.save(self.state_dict(), self.step)
                self.saved_at = self.step
            self.forecast.paused(time.monotonic() - began)

    def _keep_loss(self, total: float) -> None:
        if len(self.first_losses) < COMPARED_STEPS:
            self.first_losses.append(total)
        self.last_losses = [*self.last_losses, total][-COMPARED_STEPS:]

    def _report_skipped(self, batches: list[FrameBatch], result: StepResult, monitor: Monitor) -> None:
        """Report a step that was not finite, and end the run after too many consecutive ones."""
        loop = self.loop
        if loop.skipped <= DUMPED_BATCHES:
            self._dump(batches, result)
        monitor.say(f"step {loop.step}: loss or gradient not finite, step skipped ({loop.skipped} in all)")
        if loop.diverged:
            row, loop.skipped_in_a_row = loop.skipped_in_a_row, 0
            self._save()
            raise FeatDepthError(
                f"{row} steps in a row had a loss or gradient that is not finite (terms of the last: {result.terms}); "
                "lower optimiser.lr, use engine.precision=fp32, or look at the data "
                f"({self.output / 'nonfinite'} holds such batches). The weights from before are saved as step "
                f"{loop.step}; go on with --resume."
            )

    def _dump(self, batches: list[FrameBatch], result: StepResult) -> None:
        """Store the micro-batches of a step that was not finite, for debugging."""
        step = self.step - 1
        for number, batch in enumerate(batches):
            contents = {**vars(batch), "terms": result.terms, "step": step}
            name = f"step_{step:08d}_{self.processes.rank}_{number}.pt"
            write_checkpoint(self.output / "nonfinite" / name, contents)

    def _log(self, result: StepResult, monitor: Monitor) -> None:
        total = result.terms["total"]
        shares = {f"share/{k}": v / total for k, v in result.terms.items() if k != "total" and total}
        values = {
            **result.terms,
            **shares,
            **({} if self.cameras is None else self.cameras.figures()),
            "gradient_norm": result.gradient_norm,
            "lr": max(group["lr"] for group in self.loop.optimiser.param_groups),
            "images_per_s": monitor.rate(),
            "skipped": self.loop.skipped,
        }
        monitor.record("train", self.step, values)

    def validate(self, monitor: Monitor) -> None:
        """Measure the averaged weights on held-out clips; keep the checkpoint when it is the best so far."""
        if self.processes.first:
            began = time.monotonic()
            try:
                best = self.validator.validate(self.loop.averaged_model(), self.step, monitor, self._stop)
            except ValidationStoppedError:  # a resumed run begins with this validation
                best = False
            if best:
                with uninterrupted():
                    self.checkpoints.save_best(self.state_dict())
            seconds = time.monotonic() - began
            self.forecast.paused(seconds)
            forecast = self.forecast.validated(self.step, seconds)
            if forecast is not None:
                monitor.say(forecast)
        else:
            self.validator.validated_at = self.step
        self.processes.wait()

    def export(self) -> Path:
        """Write the averaged weights to ``<output>/model.safetensors``."""
        from featdepth_ros.models.checkpoints import save_model

        model = self.loop.averaged_model().to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        model.info = model.info.with_(
            training=f"{self.config.data.kind} data, "
            f"{'supervised' if self.config.objective.supervised else 'self-supervised'}; "
            f"seed {self.config.seed}, {self.step} steps"
        )
        path = self.output / WEIGHTS
        save_model(path, model)
        if self.cameras is not None:
            write_cameras(self.output / CAMERAS, self.cameras)
        return path


def checkpoint_mismatch(error: Exception) -> CheckpointError:
    """Return the error for a checkpoint of other networks, with the beginning of torch's message."""
    reason = " ".join(" ".join(line.split()) for line in str(error).strip().splitlines()[:3])
    return CheckpointError(
        f"the checkpoint does not fit this configuration: {reason[:400]}. Resume with the configuration of the run, or "
        "start from its weights (model.safetensors) with --finetune"
    )


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
