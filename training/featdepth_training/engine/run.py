"""A training run: loads configuration, data and trainer, in this order, so that errors come before the first step."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from featdepth_ros.device import resolve_device
from featdepth_ros.errors import CheckpointError, ConfigError, FeatDepthError
from featdepth_ros.files import atomic_write
from featdepth_ros.reporting.tables import write_json
from featdepth_training.config.checks import check
from featdepth_training.config.loading import load_config, to_dict
from featdepth_training.config.schema import CheckConfig, TrainConfig
from featdepth_training.data.samples import ClipDataset
from featdepth_training.engine.checkpoint import CheckpointFolder, exclusive_output
from featdepth_training.engine.model_setup import start_model
from featdepth_training.engine.open_data import open_data
from featdepth_training.engine.optimiser import build_optimiser
from featdepth_training.engine.published import Published, as_state, read_state
from featdepth_training.engine.trainer import Outcome, Trainer, checkpoint_mismatch
from featdepth_training.monitoring.monitor import Monitor
from featdepth_training.processes.distributed import Processes, processes
from featdepth_training.processes.signals import StopRequest


def _differences(old: object, new: object, prefix: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        differences: list[str] = []
        for key in sorted({*old, *new}):
            differences += _differences(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else key)
        return differences
    return [] if old == new else [f"{prefix}: {old} -> {new}"]


#: Value of ``--resume`` that continues from a checkpoint if there is one, and starts a new run otherwise.
AUTO = "auto"
#: File in the folder of a run with its resolved configuration, which ``--config`` can read.
RESOLVED = "config.yaml"


def write_resolved(output: Path, settings: TrainConfig) -> None:
    """Write the resolved configuration with all defaults and overrides.

    Raises:
        ConfigError: the file cannot be written.
    """
    text = yaml.safe_dump(to_dict(settings), sort_keys=False, width=110)
    head = "# The whole configuration of the newest start of this run; featdepth train --config takes it.\n"
    try:
        atomic_write(output / RESOLVED, head + text)
    except OSError as error:
        raise ConfigError(f"{output / RESOLVED} could not be written: {error}") from error


def _check_unused(output: Path) -> None:
    if CheckpointFolder(output / "checkpoints", 1).latest() is not None:
        raise ConfigError(f"{output} holds the checkpoints of a run; continue with --resume, or name another --output")


def verdict(config: CheckConfig, outcome: Outcome) -> str | None:
    """Return the result of a complete run relative to its targets; None if it has no targets.

    Raises:
        FeatDepthError: the run missed a target of ``check``.
    """
    reached: list[str] = []
    failed: list[str] = []
    share, abs_rel = outcome.loss_share, outcome.validation.get("abs_rel")
    for name, value, limit in (("loss share", share, config.loss_share), ("AbsRel", abs_rel, config.abs_rel)):
        if limit > 0:
            text = f"{name} {'unknown' if value is None else f'{value:.3f}'} (at most {limit} expected)"
            (reached if value is not None and value <= limit else failed).append(text)
    if failed:
        raise FeatDepthError(
            f"training does not work here: {', '.join(failed)}. Run the tests of the package, and check the versions "
            "of torch and numpy."
        )
    return f"training works here: {', '.join(reached)}" if reached else None


def train(
    config: str | TrainConfig,
    output: Path,
    overrides: Sequence[str] = (),
    resume: str | None = None,
    finetune: str | None = None,
    device: str = "auto",
    json_path: Path | None = None,
) -> Outcome:
    """Train as `featdepth train` does.

    Args:
        config: file, recipe name, or a resolved configuration (then without overrides).
        output: folder of the run.
        overrides: ``key=value`` settings.
        resume: one of four.
            - None for a new run.
            - "" for the newest checkpoint of ``output``.
            - ``auto`` for the same where there is one, and a new run where there is none.
            - Else a checkpoint file.
        finetune: weights to start from; with ``resume`` only what a run without a checkpoint begins with.
        device: ``auto`` (CUDA where there is any, else the CPU), ``cpu``, ``cuda``, ``cuda:N``.
        json_path: where to write the last figures.

    Raises:
        FeatDepthError: configuration, data or checkpoints are invalid; it is raised before the first step.
    """
    settings = load_config(config, overrides) if isinstance(config, str) else config
    check(settings)
    check_local(output)
    torch_device = resolve_device(device)
    with processes(torch_device) as group:
        if torch_device.type == "cuda" and group.count > 1:
            torch_device = torch.device("cuda", group.local_rank)
        outcome = _train(settings, output, resume, finetune, torch_device, group)
        if not group.first:
            return outcome
    if json_path is not None:
        summary = {"steps": outcome.steps, "complete": outcome.complete, "loss_share": outcome.loss_share}
        write_json(json_path, {**summary, **outcome.validation})
    if outcome.complete:
        reached = verdict(settings.check, outcome)
        if reached:
            print(reached)
    return outcome


def check_local(output: Path) -> None:
    """Check that the folder of a run is no URL.

    Raises:
        ConfigError: it is one.
    """
    if re.match(r"[a-z][a-z0-9+.-]*:/", str(output)):
        raise ConfigError(
            f"--output is '{output}', a URL: checkpoints need a folder of a file system, where a file is replaced as a "
            "whole; name a folder (also one that several machines share), and copy it to the object store afterwards"
        )


def _train(
    settings: TrainConfig,
    output: Path,
    resume: str | None,
    finetune: str | None,
    device: torch.device,
    group: Processes,
) -> Outcome:
    path = _checkpoint_of(output, resume)
    if path is None:
        _check_unused(output)
    start = None if path is None else read_state(path)
    _check_start(settings, start, finetune)
    group.wait()
    with exclusive_output(output) if group.first else contextlib.nullcontext():
        if settings.engine.threads:
            torch.set_num_threads(settings.engine.threads)
        if not group.first:
            group.wait()  # the first process renders what is missing
        settings, train_sources, held_out_sources = open_data(settings, output, silent=not group.first)
        if group.first:
            write_resolved(output, settings)
            group.wait()
        sequence, augment = settings.data.sequence, settings.data.augment
        trainer = Trainer(
            settings,
            output,
            ClipDataset(train_sources, sequence, augment, settings.seed),
            ClipDataset(held_out_sources, sequence, None, settings.seed),
            device,
            finetune,
            group,
            resumed=start is not None,
        )
        notes = [] if path is None or start is None else _restore(trainer, path, start)
        monitor = Monitor(output, trainer.step, settings.total_steps, settings.engine.tensorboard, not group.first)
        try:
            for note in notes:
                monitor.say(note)
            with StopRequest() as stop:
                return trainer.run(monitor, stop)
        finally:
            monitor.close()


def _check_start(settings: TrainConfig, start: dict[str, Any] | Published | None, finetune: str | None) -> None:
    """Build the networks once, so that errors of initial weights are raised before anything is rendered."""
    if isinstance(start, Published):
        start.check(settings)
    with torch.random.fork_rng(devices=[]):
        model = start_model(settings, finetune, resumed=start is not None)
    optimiser, _ = build_optimiser(model, settings.optimiser)
    if isinstance(start, dict):
        try:
            model.load_state_dict(start["model"])
            if "cameras" not in start:  # which are known once the data are open
                optimiser.load_state_dict(start["optimiser"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise checkpoint_mismatch(error) from error


def _restore(trainer: Trainer, path: Path, start: dict[str, Any] | Published) -> list[str]:
    """Restore the trainer from a checkpoint and clean its folder. Returns notes to print."""
    if isinstance(start, Published):
        state, changes = as_state(start, trainer)
    else:
        state, changes = start, _changes(start, trainer)
    trainer.load_state_dict(state)
    notes = [f"resumed from {path} at step {trainer.step}", *changes]
    if trainer.processes.first:
        trainer.checkpoints.clean()
        aside = trainer.checkpoints.set_aside_after(trainer.step)
        notes += [f"a later checkpoint of the earlier course was renamed to {later}" for later in aside]
    return notes


def _changes(state: dict[str, Any], trainer: Trainer) -> list[str]:
    """Return the differences to the configuration of the run that wrote the checkpoint."""
    current = {"processes": trainer.processes.count, "measured_on": trainer.validator.measured_on}
    differences = _differences({key: state.get(key, value) for key, value in current.items()}, current)
    if state["config"]:
        differences = _differences(state["config"], to_dict(trainer.config)) + differences
    return [f"changed: {line}" for line in differences]


def _checkpoint_of(output: Path, resume: str | None) -> Path | None:
    """Return the checkpoint to continue from; None for a new run."""
    if resume is None:
        return None
    newest = CheckpointFolder(output / "checkpoints", 1).latest()
    path = newest if resume in ("", AUTO) else Path(resume).expanduser()
    if path is None and resume != AUTO:
        raise CheckpointError(
            f"no checkpoint in {output / 'checkpoints'} to resume from; start without --resume, or name one"
        )
    return path
