"""The data of a run: caches opened or rendered, and what of the configuration contradicts them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from featdepth_ros.errors import ConfigError, nearest_name
from featdepth_training.config.schema import PreparedConfig, TrainConfig
from featdepth_training.data.cache import ClipCache, cache_folders
from featdepth_training.data.source import Source, sources_of
from featdepth_training.rendering.rendered import prepare_caches


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


def _described(sources: list[Source], prepared: PreparedConfig) -> list[Source]:
    """The sources with the share and camera height that the configuration gives each cache, in order."""
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
    folders = [folder for name in prepared.caches for folder in cache_folders(name)]
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
