"""What ``featdepth train`` does: configuration, data, trainer, in that order; refusals before the first step."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from featdepth_ros.errors import ConfigError, FeatDepthError
from featdepth_training.cache import ClipCache, cache_folders
from featdepth_training.checkpoint import CheckpointFolder, read_checkpoint
from featdepth_training.config import CheckConfig, TrainConfig
from featdepth_training.loading import load_config, to_dict
from featdepth_training.monitor import Monitor
from featdepth_training.samples import ClipDataset
from featdepth_training.rendered import prepare_caches
from featdepth_training.signals import StopRequest
from featdepth_training.trainer import Outcome, Trainer


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device '{name}' is not known to torch; expected cpu or cuda[:N]") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device '{name}' was asked for, but torch finds no CUDA device; use --device cpu")
    return device


def _differences(old: object, new: object, prefix: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        found: list[str] = []
        for key in sorted({*old, *new}):
            found += _differences(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else key)
        return found
    return [] if old == new else [f"{prefix}: {old} -> {new}"]


def _refuse_used_output(output: Path) -> None:
    if CheckpointFolder(output / "checkpoints", 1).latest() is not None:
        raise ConfigError(
            f"{output} holds the checkpoints of a run; go on with --resume, or name another --output"
        )


def verdict(config: CheckConfig, outcome: Outcome) -> str | None:
    """Return the good news of a complete run that was asked to reach something, None when nothing was asked.

    Raises:
        FeatDepthError: the run did not reach what ``check`` asks for.
    """
    found: list[str] = []
    failed: list[str] = []
    share, abs_rel = outcome.loss_share, outcome.validation.get("abs_rel")
    for name, value, limit in (("loss share", share, config.loss_share), ("AbsRel", abs_rel, config.abs_rel)):
        if limit > 0:
            text = f"{name} {'unknown' if value is None else f'{value:.3f}'} (at most {limit} expected)"
            (found if value is not None and value <= limit else failed).append(text)
    if failed:
        raise FeatDepthError(
            f"training does not work here: {', '.join(failed)}. Run the tests of the package, and check the versions "
            "of torch and numpy."
        )
    return f"training works here: {', '.join(found)}" if found else None


def open_data(config: TrainConfig, output: Path) -> tuple[TrainConfig, ClipCache, ClipCache]:
    """Open (or render) the data; returns the configuration with the canonical camera filled in, train, held out.

    Raises:
        ConfigError: the configuration contradicts the data.
        RecordingError: a cache is missing or empty.
    """
    if config.data.kind == "rendered":
        return config, *prepare_caches(config, output)
    prepared = config.data.prepared
    folders = [found for name in prepared.caches for found in cache_folders(Path(name).expanduser())]
    every = ClipCache([(folder, None) for folder in folders])
    if config.objective.supervised and not every.has_depth:
        raise ConfigError("objective.depth needs true depth, which these caches do not hold; set it and gradient to 0")
    if len(every[0].poses) <= (config.data.sequence.frames - 1) * config.data.sequence.max_gap:
        raise ConfigError(
            f"data.sequence takes {config.data.sequence.frames} frames up to {config.data.sequence.max_gap} apart, the "
            f"clips have {len(every[0].poses)}; prepare with more --frames"
        )
    if config.model.focal is None:
        height, width = every.image_size
        fx, fy, _, _ = every[0].camera
        model = dataclasses.replace(config.model, focal=(float(fx / width), float(fy / height)))
        config = dataclasses.replace(config, model=model)
    return config, *every.split(prepared.held_out)


def train(
    config: str | TrainConfig,
    output: Path,
    overrides: Sequence[str] = (),
    resume: str | None = None,
    finetune: str | None = None,
    device: str = "cpu",
    json_path: Path | None = None,
) -> Outcome:
    """Train as `featdepth train` does.

    Args:
        config: file, recipe name, or a resolved configuration (then without overrides).
        output: folder of the run.
        overrides: ``key=value`` settings.
        resume: None for a new run, "" for the newest checkpoint of ``output``, else a checkpoint file.
        finetune: weights to start from.
        device: for torch.
        json_path: where to write the last figures.

    Raises:
        FeatDepthError: whatever is wrong with configuration, data or checkpoints, before the first step.
    """
    settings = load_config(config, overrides) if isinstance(config, str) else config
    place = _device(device)
    if resume is None:
        _refuse_used_output(output)
    if settings.engine.threads:
        torch.set_num_threads(settings.engine.threads)
    settings, train_cache, held_out_cache = open_data(settings, output)
    sequence, augment = settings.data.sequence, settings.data.augment
    trainer = Trainer(
        settings,
        output,
        ClipDataset(train_cache, sequence, augment, settings.seed),
        ClipDataset(held_out_cache, sequence, None, settings.seed),
        place,
        finetune,
    )
    notes: list[str] = []
    if resume is not None:
        path = trainer.resume(Path(resume) if resume else None)
        changed = _differences(read_checkpoint(path)["config"], to_dict(settings))
        notes = [f"resumed from {path} at step {trainer.step}", *(f"changed: {line}" for line in changed)]
    monitor = Monitor(output, trainer.step, settings.total_steps, settings.engine.tensorboard)
    try:
        for note in notes:
            monitor.say(note)
        with StopRequest() as stop:
            outcome = trainer.run(monitor, stop)
    finally:
        monitor.close()
    if json_path is not None:
        figures = {k: v if math.isfinite(v) else None for k, v in outcome.validation.items()}
        summary = {"steps": outcome.steps, "complete": outcome.complete, "loss_share": outcome.loss_share, **figures}
        json_path.write_text(json.dumps(summary, indent=1), encoding="utf-8")
    if outcome.complete:
        good_news = verdict(settings.check, outcome)
        if good_news:
            print(good_news)
    return outcome
