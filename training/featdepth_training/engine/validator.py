"""Schedules the validation of a run, and records the best result."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch

from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.progress import ProgressBar
from featdepth_training.config.schema import TrainConfig
from featdepth_training.data.batch import FrameBatch
from featdepth_training.data.samples import ClipDataset, validation_batches
from featdepth_training.engine.validation import validation_figures
from featdepth_training.monitoring.monitor import Monitor
from featdepth_training.monitoring.pictures import validation_pictures
from featdepth_training.objectives.learned_cameras import LearnedCameras
from featdepth_training.processes.signals import StopRequest

#: Figures that are printed.
PRINTED = (
    *("photometric", "reconstruction", "abs_rel", "a1", "abs_rel_median_scaled"),
    *("rotation_deg", "translation_percent"),
)
#: Largest number of sources with separate figures; with more sources, only the means are reported.
MOST_SOURCES = 30


class ValidationStoppedError(Exception):
    """A stop was requested during a validation, which has no result."""


class Validator:
    """Evaluates weights on held-out clips, always the same ones at the sizes of the run's last stage.

    Args:
        config: configuration of the run.
        held_out: clips for validation only.
        device: device of the networks.
        cameras: cameras that are learned; None: all are known.

    Attributes:
        figures: figures of the last validation.
        validated_at: step of the last validation.
        best: smallest `criterion` so far.
        measured_on: description of the clips and sizes.
    """

    def __init__(
        self, config: TrainConfig, held_out: ClipDataset, device: torch.device, cameras: LearnedCameras | None = None
    ) -> None:
        self.config, self.held_out, self.device, self.cameras = config, held_out, device, cameras
        self.figures: dict[str, float] = {}
        self.validated_at = 0
        self.best = float("inf")
        self.clips = sum(len(source.clips) for source in held_out.sources)
        sources = ", ".join(f"{source.name} {len(source.clips)}" for source in held_out.sources)
        if len(held_out.sources) > MOST_SOURCES:
            digest = hashlib.sha256(sources.encode()).hexdigest()[:8]
            sources = f"{self.clips} clips of {len(held_out.sources)} caches ({digest})"
        self.measured_on = f"{sources}; {[list(size) for size in config.stages[-1].sizes]}"

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a resumed run."""
        return {
            "best": self.best,
            "measured_on": self.measured_on,
            "validation": self.figures,
            "validated_at": self.validated_at,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`; a best figure from other clips or sizes is dropped."""
        if state.get("measured_on") == self.measured_on:
            self.best = float(state["best"])
        self.figures, self.validated_at = dict(state["validation"]), int(state.get("validated_at", 0))

    def due(self, step: int) -> bool:
        """Return whether ``step`` needs a validation that has not been done."""
        every = self.config.engine.validate_every
        if self.validated_at == step or step == 0:
            return False
        return (every > 0 and step % every == 0) or step >= self.config.total_steps

    @property
    def criterion(self) -> str:
        """Name of the figure that determines the best weights."""
        objective = self.config.objective
        if objective.supervised:
            return "abs_rel" if max(objective.depth, objective.gradient) > 0 else "translation_percent"
        return "photometric" if objective.selfsupervised else "reconstruction"

    def validate(self, model: FeatDepthModel, step: int, monitor: Monitor, stop: StopRequest | None = None) -> bool:
        """Evaluate ``model``, log figures and images, and return whether it is the best so far.

        Raises:
            ValidationStoppedError: ``stop`` was requested meanwhile.
        """
        torch.manual_seed(self.config.seed)  # fixes the tie-breaking noise, so that only the weights change the figures
        stage = self.config.stages[-1]
        held_out = validation_batches(self.held_out, stage.sizes, stage.batch_size)
        names = [source.name for source in self.held_out.sources]
        groups = names if len(names) <= MOST_SOURCES else None
        low_precision = self.config.engine.precision == "bf16"
        with (
            ProgressBar("validation", self.clips, "clip", shown=not monitor.silent) as bar,
            torch.autocast(self.device.type, torch.bfloat16, enabled=low_precision),
        ):
            batches = self._counted(held_out, bar, stop)
            self.figures, shown = validation_figures(model, batches, names, self.config, groups)
        self.validated_at = step
        monitor.record("validation", step, self.figures)
        summary = ", ".join(f"{key} {self.figures[key]:.5f}" for key in PRINTED if key in self.figures)
        monitor.say(f"step {step}: {summary}")
        if monitor.shows_pictures:
            for name, picture in validation_pictures(model, shown, self.config):
                monitor.picture(name, step, picture)
        figure = self.figures.get(self.criterion, float("inf"))
        if figure >= self.best:
            return False
        self.best = figure
        return True

    def _counted(
        self, batches: Iterator[FrameBatch], bar: ProgressBar, stop: StopRequest | None
    ) -> Iterator[FrameBatch]:
        """Yield the batches on the device as floats, and count each finished one."""
        rows = None if self.cameras is None else self.cameras.rows(self.held_out.sources)
        for batch in batches:
            if stop is not None and stop.requested is not None:
                raise ValidationStoppedError
            known = batch.to(self.device).in_floats()
            if self.cameras is not None and rows is not None:
                with torch.no_grad():
                    known = self.cameras(known, rows)
            yield known
            bar.update(batch.images.shape[0])
