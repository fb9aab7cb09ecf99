"""What ``featdepth train`` does: configuration, data, trainer, in that order; refusals before the first step."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from featdepth_ros.errors import CheckpointError, ConfigError, FeatDepthError, nearest_name
from featdepth_ros.reporting.tables import write_json
from featdepth_training.config.loading import load_config, to_dict
from featdepth_training.config.schema import CheckConfig, PreparedConfig, TrainConfig
from featdepth_training.data.cache import ClipCache, cache_folders
from featdepth_training.data.samples import ClipDataset, Part, Source
from featdepth_training.engine.checkpoint import CheckpointFolder, held
from featdepth_training.engine.monitor import Monitor
from featdepth_training.engine.networks import build_optimiser, start_model
from featdepth_training.engine.published import Published, as_state, read_state
from featdepth_training.engine.trainer import Outcome, Trainer, misfit
from featdepth_training.processes.distributed import Processes, processes
from featdepth_training.processes.signals import StopRequest
from featdepth_training.rendering.rendered import prepare_caches


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
        raise ConfigError(f"{output} holds the checkpoints of a run; go on with --resume, or name another --output")


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


def open_data(
    config: TrainConfig, output: Path, silent: bool = False
) -> tuple[TrainConfig, list[Source], list[Source]]:
    """Open (or render) the data; returns the configuration with the canonical camera filled in, train, held out.

    Raises:
        ConfigError: the configuration contradicts the data.
        RecordingError: a cache is missing or empty.
    """
    train: list[Source] = []
    held_out: list[Source] = []
    if config.data.kind != "rendered":
        config, caches = _open_prepared(config)
        for cache in caches:
            kept, rest = cache.split(config.data.prepared.held_out)
            train += sources_of(kept, rendered=False)
            held_out += sources_of(rest, rendered=False)
        train, held_out = (_described(some, config.data.prepared) for some in (train, held_out))
    if config.data.kind != "prepared":
        rendered, unseen = (sources_of(cache, rendered=True) for cache in prepare_caches(config, output, silent))
        if config.data.kind == "mixed":
            train, rendered = _balanced(train, rendered, config.data.rendered_share)
        train, held_out = [*train, *rendered], [*held_out, *unseen]
    return config, train, held_out


def sources_of(cache: ClipCache, rendered: bool) -> list[Source]:
    """One source for each part of a cache; shares are their numbers of clips."""
    found: list[Source] = []
    for group, name in enumerate(cache.names):
        clips = Part(cache, cache.clips_of(group))
        found.append(Source(name, clips, float(len(clips)), rendered, cache.image_size_of(group)))
    return found


def _described(sources: list[Source], prepared: PreparedConfig) -> list[Source]:
    """The sources with what the configuration says of each cache, in order."""
    for key in ("shares", "camera_heights_m"):
        count = len(getattr(prepared, key))
        if count not in (0, len(sources)):
            raise ConfigError(
                f"data.prepared.{key} has {count} numbers for {len(sources)} caches "
                f"({', '.join(source.name for source in sources)}, in this order)"
            )
    shares = prepared.shares or [source.share for source in sources]
    heights = prepared.camera_heights_m or [0.0] * len(sources)
    return [
        dataclasses.replace(source, share=share, camera_height_m=height)
        for source, share, height in zip(sources, shares, heights, strict=True)
    ]


def _balanced(
    prepared: list[Source], rendered: list[Source], rendered_share: float
) -> tuple[list[Source], list[Source]]:
    def scaled(sources: list[Source], total: float) -> list[Source]:
        whole = sum(s.share for s in sources)
        return [dataclasses.replace(s, share=s.share * total / whole) for s in sources]

    return scaled(prepared, 1 - rendered_share), scaled(rendered, rendered_share)


def _open_prepared(config: TrainConfig) -> tuple[TrainConfig, list[ClipCache]]:
    """The caches with neighbours, then those of single frames, where there are any."""
    prepared, sequence = config.data.prepared, config.data.sequence
    folders = [found for name in prepared.caches for found in cache_folders(name)]
    names = [Path(folder).name for folder in folders]
    for name in prepared.singles:
        if name not in names:
            raise ConfigError(f"data.prepared.singles holds '{name}', no name of a cache{nearest_name(name, names)}")
    length = (sequence.frames - 1) * sequence.max_gap + 1
    alone = [folder for folder, name in zip(folders, names, strict=True) if name in prepared.singles]
    others = [folder for folder in folders if folder not in alone]
    matched = config.objective.pseudo_depth > 0
    caches = [ClipCache(some, frames, pseudo_depth=matched) for some, frames in ((others, length), (alone, 1)) if some]
    _check_caches(config, caches)
    every = caches[0]
    if config.model.focal is None:
        height, width = every.image_size
        fx, fy, _, _ = every[0].camera
        model = dataclasses.replace(config.model, focal=(float(fx / width), float(fy / height)))
        config = dataclasses.replace(config, model=model)
    return config, caches


def _check_caches(config: TrainConfig, caches: list[ClipCache]) -> None:
    sequence = config.data.sequence
    if config.data.kind == "prepared" and config.objective.supervised and not all(c.has_depth for c in caches):
        raise ConfigError("objective.depth needs true depth, which these caches do not hold; set it and gradient to 0")
    paired = {name: cache.has_partner_of(group) for cache in caches for group, name in enumerate(cache.names)}
    must = set(paired) if sequence.frames == 1 and sequence.stereo else set(config.data.prepared.singles)
    lacking = sorted(name for name in must if not paired[name])
    if lacking:
        raise ConfigError(
            f"single frames are taken with their stereo partner, and {', '.join(lacking)} holds none; prepare it with "
            "--stereo, or set data.sequence.frames=3 and leave it out of data.prepared.singles"
        )
    if config.objective.pseudo_depth > 0:
        unmatched = [
            name for cache in caches for group, name in enumerate(cache.names) if not cache.has_pseudo_depth_of(group)
        ]
        if unmatched:
            raise ConfigError(
                f"objective.pseudo_depth compares with what matching found, and {', '.join(unmatched)} holds none; add "
                "it with the same featdepth prepare as before and --pseudo-depth, or set objective.pseudo_depth=0"
            )
    if config.data.prepared.singles and not sequence.stereo:
        raise ConfigError("data.prepared.singles takes frames with their stereo partner; set data.sequence.stereo=true")
    if sequence.stereo and not any(paired.values()):
        raise ConfigError(
            "data.sequence.stereo is set, and no cache holds a stereo partner; prepare with --stereo, or set it to "
            "false"
        )


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
    with processes(place) as mine:
        if place.type == "cuda" and mine.count > 1:
            place = torch.device("cuda", mine.local_rank)
        outcome = _train(settings, output, resume, finetune, place, mine)
        if not mine.first:
            return outcome
    if json_path is not None:
        summary = {"steps": outcome.steps, "complete": outcome.complete, "loss_share": outcome.loss_share}
        write_json(json_path, {**summary, **outcome.validation})
    if outcome.complete:
        good_news = verdict(settings.check, outcome)
        if good_news:
            print(good_news)
    return outcome


def _train(
    settings: TrainConfig,
    output: Path,
    resume: str | None,
    finetune: str | None,
    device: torch.device,
    mine: Processes,
) -> Outcome:
    path = _checkpoint_of(output, resume)
    if path is None:
        _refuse_used_output(output)
    start = None if path is None else read_state(path)
    _check_start(settings, start, finetune)
    mine.wait()
    with held(output) if mine.first else contextlib.nullcontext():
        if settings.engine.threads:
            torch.set_num_threads(settings.engine.threads)
        if not mine.first:
            mine.wait()  # the first process renders what is missing
        settings, train_sources, held_out_sources = open_data(settings, output, silent=not mine.first)
        if mine.first:
            mine.wait()
        sequence, augment = settings.data.sequence, settings.data.augment
        trainer = Trainer(
            settings,
            output,
            ClipDataset(train_sources, sequence, augment, settings.seed),
            ClipDataset(held_out_sources, sequence, None, settings.seed),
            device,
            finetune,
            mine,
            resumed=start is not None,
        )
        notes = [] if path is None or start is None else _go_on(trainer, path, start)
        monitor = Monitor(output, trainer.step, settings.total_steps, settings.engine.tensorboard, not mine.first)
        try:
            for note in notes:
                monitor.say(note)
            with StopRequest() as stop:
                return trainer.run(monitor, stop)
        finally:
            monitor.close()


def _check_start(settings: TrainConfig, start: dict[str, Any] | Published | None, finetune: str | None) -> None:
    """Say what is wrong with the files a run starts from before anything is rendered: build the networks once."""
    if isinstance(start, Published):
        start.check(settings)
    with torch.random.fork_rng(devices=[]):
        model = start_model(settings, finetune, resumed=start is not None)
    optimiser, _ = build_optimiser(model, settings.optimiser)
    if isinstance(start, dict):
        try:
            model.load_state_dict(start["model"])
            optimiser.load_state_dict(start["optimiser"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise misfit(error) from error


def _go_on(trainer: Trainer, path: Path, start: dict[str, Any] | Published) -> list[str]:
    """Put the trainer where the checkpoint was and tidy the folder; returns what is to be told of it."""
    if isinstance(start, Published):
        state, told = as_state(start, trainer)
    else:
        state, told = start, _changes(start, trainer)
    trainer.load_state_dict(state)
    notes = [f"resumed from {path} at step {trainer.step}", *told]
    if trainer.processes.first:
        trainer.checkpoints.clean()
        aside = trainer.checkpoints.set_aside_after(trainer.step)
        notes += [f"a later checkpoint, of another course now, is kept as {later}" for later in aside]
    return notes


def _changes(state: dict[str, Any], trainer: Trainer) -> list[str]:
    """What differs from the run that wrote the checkpoint."""
    there = {"processes": trainer.processes.count, "measured_on": trainer.examiner.measured_on}
    found = _differences({key: state.get(key, value) for key, value in there.items()}, there)
    if state["config"]:
        found = _differences(state["config"], to_dict(trainer.config)) + found
    return [f"changed: {line}" for line in found]


def _checkpoint_of(output: Path, resume: str | None) -> Path | None:
    """The checkpoint to go on from: None for a new run, "" for the newest of the run."""
    if resume is None:
        return None
    path = Path(resume).expanduser() if resume else CheckpointFolder(output / "checkpoints", 1).latest()
    if path is None:
        raise CheckpointError(
            f"no checkpoint in {output / 'checkpoints'} to resume from; start without --resume, or name one"
        )
    return path
