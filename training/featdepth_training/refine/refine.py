"""`featdepth refine`: refines weights on recordings of a new place, and writes them only if they are not worse.

It is the reference's online refinement (docs/reference.md 4): the usual losses on frames of the place, their neighbours
and the stereo partner. Depth and pose networks are trained, the feature network is frozen. Unlike there, the decision
uses held-out frames.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from featdepth_ros.device import resolve_device
from featdepth_ros.errors import CheckpointError, ConfigError, FeatDepthError, RecordingError
from featdepth_ros.inference.networks import fitting_size
from featdepth_ros.models.base import FeatDepthModel
from featdepth_ros.models.checkpoints import save_model
from featdepth_ros.models.info import ModelInfo
from featdepth_ros.recordings.recording import Recording
from featdepth_training.data.batch import FrameBatch
from featdepth_training.data.samples import ClipDataset, validation_batches
from featdepth_training.data.source import Source
from featdepth_training.engine.loop import TrainingLoop
from featdepth_training.engine.step import StepResult
from featdepth_training.monitoring.monitor import Monitor
from featdepth_training.processes.signals import StopRequest
from featdepth_training.refine.checkpoint import RefineCheckpoint
from featdepth_training.refine.config import RefineConfig, train_config
from featdepth_training.refine.data import gather, partnered
from featdepth_training.refine.figures import log_depths, measure, scale_ratio
from featdepth_training.refine.gate import HeldOutFigures, Verdict, judge
from featdepth_training.refine.steps import give_focal, name_of, refined_info, refinement_loop, start_model


@dataclass(frozen=True)
class RefineReport:
    """Result of a refinement.

    Attributes:
        recording, weights: names of the recordings and of the refined weights.
        frames: number of kept frames.
        train_clips, held_out_clips: numbers of clips of three frames; the two kinds share no frame.
        size: (height, width) of the networks' input, pixels.
        stereo: whether a stereo partner was used.
        steps, planned_steps, skipped: numbers of finished, planned and skipped (not finite) optimiser steps.
        before, after: figures on the held-out clips.
        scale_ratio: median depth after over before, over the whole recordings, for the gate.
        scale_ratio_held_out: the same on the held-out clips, which also contains corrections of single views.
        verdict: whether the weights may be used.
        output: the written file; None if the weights were rejected.
        seconds: duration of the steps.
    """

    recording: str
    weights: str
    frames: int
    train_clips: int
    held_out_clips: int
    size: tuple[int, int]
    stereo: bool
    steps: int
    planned_steps: int
    skipped: int
    before: HeldOutFigures
    after: HeldOutFigures
    scale_ratio: float
    scale_ratio_held_out: float
    verdict: Verdict
    output: Path | None
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether the refinement was not stopped early."""
        return self.steps == self.planned_steps

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: the fields, ``accepted`` and ``reasons`` of the verdict, and ``written``."""
        values = {**asdict(self), "complete": self.complete, **asdict(self.verdict), "written": self.output is not None}
        del values["verdict"]
        return {**values, "output": None if self.output is None else str(self.output)}


def refine(
    weights: FeatDepthModel | str | Path,
    recording: Recording | Sequence[Recording],
    output: str | Path | None,
    config: RefineConfig | None = None,
    preset: str | None = None,
    work: str | Path | None = None,
    quiet: bool = True,
    resume: bool = False,
) -> RefineReport:
    """Refine weights on recordings, evaluate them before and after, and write them if they are not worse.

    SIGINT and SIGTERM end the training after the current step; the weights so far are then evaluated as usual.

    Args:
        weights: a model (not changed), a file, or the name of a model that ships.
        recording: one or several recordings with calibrations, opened with a partner to use stereo. The last part of
            each is held out.
        output: safetensors file to write, which must not exist. None: only evaluate.
        config: settings; None: the defaults.
        preset: preset of published weights, see `load_model`.
        work: folder that keeps prepared frames, checkpoints, ``metrics.jsonl`` and TensorBoard's files for another run;
            None: a temporary one.
        quiet: whether to print no progress.
        resume: whether to continue from the checkpoint that a stopped or killed refinement left in ``work``.

    Raises:
        CalibrationError: the recording has no calibration.
        CheckpointError: the weights cannot be read or lack a network, or ``output`` cannot be written.
        RecordingError: there are too few frames, or nothing moves.
        ConfigError: stereo is used with weights of relative scale, or the checkpoint belongs to another refinement.
        FeatDepthError: too many consecutive steps were not finite; nothing is written.
    """
    settings = config or RefineConfig()
    recordings = [recording] if isinstance(recording, Recording) else list(recording)
    if not recordings:
        raise RecordingError("no recording was given; refinement needs at least one")
    if resume and work is None:
        raise ConfigError("resuming needs the folder of the checkpoint; name it with work (--work DIR)")
    target = _checked_output(output)
    model = start_model(weights, preset, partnered(recordings))
    with _folder(work) as folder, torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        refinement = _Refinement(model, recordings, settings, folder, quiet, kept=work is not None)
        return refinement.run(target, name_of(weights, model), resume)


def _checked_output(output: str | Path | None) -> Path | None:
    if output is None:
        return None
    path = Path(output).expanduser()
    if path.exists():
        raise CheckpointError(
            f"'{path}' exists already; name another output, as rejected weights would leave the old file in its place"
        )
    if not path.parent.is_dir():
        raise CheckpointError(f"there is no folder '{path.parent}' to write '{path.name}' into; create it first")
    return path


@contextmanager
def _folder(work: str | Path | None) -> Iterator[Path]:
    if work is not None:
        yield Path(work).expanduser()
        return
    with tempfile.TemporaryDirectory(prefix="featdepth_refine_") as folder:
        yield Path(folder)


class _Refinement:
    """One refinement: data, configuration, steps. ``kept``: whether its folder is kept."""

    def __init__(
        self,
        model: FeatDepthModel,
        recordings: Sequence[Recording],
        settings: RefineConfig,
        folder: Path,
        quiet: bool,
        kept: bool,
    ) -> None:
        self.model, self.settings = model, settings
        self.folder, self.quiet, self.kept = folder, quiet, kept
        self.info = model.info
        self.stereo = partnered(recordings)
        self.device = resolve_device(settings.device)
        self.size = settings.size or self._usual_size(recordings[0])
        self.data = gather(recordings, self.size, self.stereo, folder, settings, quiet)
        give_focal(self.model, self.data.camera, self.size)
        clips, cache = self.data.train_clips, str(self.data.caches[0])
        self.config = train_config(model, settings, self.size, self.stereo, cache, clips)

    def _usual_size(self, recording: Recording) -> tuple[int, int]:
        camera = recording.camera
        if camera is None:
            return self.info.input_size  # reading the recording raises the error
        height, width = fitting_size(self.info, camera.width, camera.height)
        return max(height, 64), max(width, 64)

    def run(self, target: Path | None, weights: str, resume: bool) -> RefineReport:
        """Evaluate, train, evaluate again, decide, and write the weights."""
        self.model.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        checkpoint = RefineCheckpoint(self.folder, self.settings, weights, self.data.names) if self.kept else None
        before, held_before = self._measure(self.model)
        depths_before = log_depths(self.model, self._batches(self.data.everything))
        began = time.perf_counter()
        loop = self._train(checkpoint, resume, before)
        seconds = time.perf_counter() - began
        if loop.step == 0:
            raise FeatDepthError("stopped before the first step: the weights are unchanged, and nothing was written")
        refined = loop.averaged_model()
        after, held_after = self._measure(refined)
        ratio = scale_ratio(depths_before, log_depths(refined, self._batches(self.data.everything)))
        verdict = judge(before, after, ratio, self.stereo, self.settings.limits)
        written = target is not None and (verdict.accepted or self.settings.accept_worse)
        if target is not None and written:
            refined.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
            refined.info = self._described(weights, verdict, loop.step)
            save_model(target, refined)
        if checkpoint is not None and loop.step >= self.config.total_steps:
            checkpoint.remove()
        self._log(loop.step, after)
        return RefineReport(
            recording=", ".join(self.data.names),
            weights=weights,
            frames=self.data.frames,
            train_clips=self.data.train_clips,
            held_out_clips=self.data.held_out_clips,
            size=self.size,
            stereo=self.stereo,
            steps=loop.step,
            planned_steps=self.config.total_steps,
            skipped=loop.skipped,
            before=before,
            after=after,
            scale_ratio=ratio,
            scale_ratio_held_out=scale_ratio(held_before, held_after),
            verdict=verdict,
            output=target if written else None,
            seconds=seconds,
        )

    def _log(self, step: int, figures: HeldOutFigures) -> None:
        """Log the figures of the new weights."""
        if self.kept:
            monitor = Monitor(self.folder, step, self.config.total_steps, tensorboard=True, shown=False)
            monitor.record("held_out", step, {k: v for k, v in asdict(figures).items() if v is not None})
            monitor.close()

    def _measure(self, model: FeatDepthModel) -> tuple[HeldOutFigures, list[Tensor]]:
        return measure(model, self._batches(self.data.held_out), self.config)

    def _batches(self, sources: Sequence[Source]) -> Iterator[FrameBatch]:
        dataset = ClipDataset(sources, self.config.data.sequence, None, self.settings.seed)
        for batch in validation_batches(dataset, [self.size], self.settings.batch_size):
            yield batch.to(self.device).in_floats()

    def _described(self, weights: str, verdict: Verdict, steps: int) -> ModelInfo:
        """Return the description of the new weights, with their origin, the recordings and the licence."""
        height, width = self.size
        how = f"{steps} steps at {height}x{width}{', with stereo partner' if self.stereo else ''}"
        note = (
            f"refined from {weights} on {self._what()} ({self.data.train_clips} clips), {how}, "
            f"lr {self.settings.lr:g}, seed {self.settings.seed}"
            + ("" if verdict.accepted else "; written although held-out figures got worse")
        )
        return refined_info(self.info, note)

    def _what(self) -> str:
        kinds, names = dict.fromkeys(self.data.kinds), self.data.names
        listed = ", ".join(f"'{name}'" for name in names[:5]) + (", ..." if len(names) > 5 else "")
        return f"{'/'.join(kinds)} recording{'s' if len(names) > 1 else ''} {listed}"

    def _train(self, checkpoint: RefineCheckpoint | None, resume: bool, before: HeldOutFigures) -> TrainingLoop:
        """Take the steps, and return the loop."""
        settings, config = self.settings, self.config
        anchored = settings.anchor > 0 and not self.stereo
        known = copy.deepcopy(self.model).eval().requires_grad_(False) if anchored else None
        loop = refinement_loop(self.model, config, self.data.train, self.device, known, settings.anchor)
        if checkpoint is not None and resume:
            checkpoint.restore(loop)
        monitor = Monitor(
            self.folder, loop.step, config.total_steps, tensorboard=self.kept, silent=not self.kept and self.quiet,
            shown=not self.quiet,
        )  # fmt: skip
        if loop.step == 0:
            monitor.record("held_out", 0, {k: v for k, v in asdict(before).items() if v is not None})
        else:
            monitor.say(f"resumed at step {loop.step} of {config.total_steps}")

        def on_step(batches: list[FrameBatch], result: StepResult) -> None:
            if loop.diverged:
                raise FeatDepthError(
                    f"{loop.skipped_in_a_row} steps in a row had a loss or gradient that is not finite (terms of the "
                    f"last: {result.terms}); lower lr (it is {settings.lr:g}). Nothing was written."
                )
            monitor.advance(sum(batch.image_count for batch in batches))
            monitor.record("train", loop.step, {**result.terms, "images_per_s": monitor.rate()})
            if checkpoint is not None and loop.step % settings.checkpoint_every == 0:
                checkpoint.save(loop)

        try:
            with StopRequest() as stop:
                end = loop.run(on_step, stop)
            if end.failure is not None:
                raise end.failure
            if end.stopped:
                monitor.say(f"{stop.requested}: stopped after step {loop.step}; evaluating the weights so far")
                if checkpoint is not None and loop.step:
                    checkpoint.save(loop)
        finally:
            monitor.close()
        return loop
