"""Opens or renders the data of a run, and checks the configuration against it."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from featdepth_ros.errors import ConfigError, RecordingError, nearest_name
from featdepth_training.config.schema import PreparedConfig, TrainConfig
from featdepth_training.data.cache import ClipCache, cache_folders
from featdepth_training.data.source import Source, sources_of, thinned
from featdepth_training.rendering.rendered import prepare_caches

logger = logging.getLogger(__name__)


def open_data(
    config: TrainConfig, output: Path, silent: bool = False
) -> tuple[TrainConfig, list[Source], list[Source]]:
    """Open (or render) the data.

    Returns:
        The configuration with the canonical camera, the training sources, and the held-out sources.

    Raises:
        ConfigError: the configuration contradicts the data.
        RecordingError: a cache is missing or empty.
    """
    train: list[Source] = []
    held_out: list[Source] = []
    if config.data.kind != "rendered":
        config, train, held_out = _prepared_sources(config, silent)
    if config.data.kind != "prepared":
        rendered, unseen = (sources_of(cache, rendered=True) for cache in prepare_caches(config, output, silent))
        if config.data.kind == "mixed":
            train, rendered = _balanced(train, rendered, config.data.rendered_share)
        train, held_out = [*train, *rendered], [*held_out, *unseen]
    return config, train, held_out


@dataclasses.dataclass(frozen=True)
class _Listed:
    """A cache in the configuration with its settings; ``share`` None: by its number of clips."""

    folder: str
    name: str
    share: float | None
    camera_height_m: float
    held_out: float


def _listed(prepared: PreparedConfig) -> list[_Listed]:
    """Return the caches in the order of the configuration, with their settings.

    Raises:
        ConfigError: the length of a list differs from the number of caches.
    """
    folders = [folder for name in prepared.caches for folder in cache_folders(name)]
    names = [Path(folder).name for folder in folders]
    for key in ("shares", "camera_heights_m", "held_outs"):
        count = len(getattr(prepared, key))
        if count not in (0, len(folders)):
            raise ConfigError(
                f"data.prepared.{key} has {count} numbers; expected {len(folders)}: {', '.join(names)}, in this order"
            )
    count = len(folders)
    shares = prepared.shares or (None,) * count
    heights = prepared.camera_heights_m or (0.0,) * count
    held_outs = prepared.held_outs or (prepared.held_out,) * count
    values = zip(folders, names, shares, heights, held_outs, strict=True)
    return [_Listed(*entry) for entry in values]


def _prepared_sources(config: TrainConfig, silent: bool) -> tuple[TrainConfig, list[Source], list[Source]]:
    """Return the caches for training and validation; those without enough neighbours are left out with a warning."""
    prepared = config.data.prepared
    listed = {entry.folder: entry for entry in _listed(prepared)}
    config, caches = _open_prepared(config, list(listed.values()))
    train: list[Source] = []
    held_out: list[Source] = []
    left_out: dict[str, str] = {}
    for cache in caches:
        kept, rest = cache.split([listed[place].held_out for place in cache.locations], leave_out=True)
        train += sources_of(kept, rendered=False)
        held_out += sources_of(rest, rendered=False)
        left_out |= kept.left_out
    for reason in left_out.values() if not silent else ():
        logger.warning("left out of training: %s", reason)
    for name in prepared.validation:
        for folder in cache_folders(name):
            held_out += sources_of(_to_validate(folder, caches[0].frames), rendered=False)
    train, held_out = (_described(some, listed) for some in (train, held_out))
    held_out = thinned(held_out, prepared.validation_clips)
    if config.data.kind == "prepared" and not held_out:
        raise ConfigError("nothing is held out to validate on; give data.prepared.held_out or data.prepared.validation")
    return config, train, held_out


def _to_validate(folder: str, frames: int) -> ClipCache:
    """Return the validation clips of a cache; single frames with true depth if they have no neighbours."""
    try:
        return ClipCache([folder], frames)
    except RecordingError:
        return ClipCache([folder], 1)


def _described(sources: list[Source], listed: dict[str, _Listed]) -> list[Source]:
    """Return the sources with the share and the camera height of each cache in the configuration."""
    described = []
    for source in sources:
        entry = listed.get(source.location)
        if entry is not None:
            share = source.share if entry.share is None else entry.share
            source = dataclasses.replace(source, share=share, camera_height_m=entry.camera_height_m)
        described.append(source)
    return described


def _balanced(
    prepared: list[Source], rendered: list[Source], rendered_share: float
) -> tuple[list[Source], list[Source]]:
    def scaled(sources: list[Source], total: float) -> list[Source]:
        whole = sum(s.share for s in sources)
        return [dataclasses.replace(s, share=s.share * total / whole) for s in sources]

    return scaled(prepared, 1 - rendered_share), scaled(rendered, rendered_share)


def _open_prepared(config: TrainConfig, listed: list[_Listed]) -> tuple[TrainConfig, list[ClipCache]]:
    """Return the caches with neighbours, then those of single frames."""
    prepared, sequence = config.data.prepared, config.data.sequence
    names = [entry.name for entry in listed]
    for name in prepared.singles:
        if name not in names:
            raise ConfigError(f"data.prepared.singles names '{name}', which is not a cache{nearest_name(name, names)}")
    length = (sequence.frames - 1) * sequence.max_gap + 1
    alone = [entry.folder for entry in listed if entry.name in prepared.singles]
    others = [entry.folder for entry in listed if entry.folder not in alone]
    matched = config.objective.pseudo_depth > 0
    caches = [
        ClipCache(some, frames, pseudo_depth=matched, leave_out=True)
        for some, frames in ((others, length), (alone, 1))
        if some
    ]
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
                f"objective.pseudo_depth needs pseudo-depth, and {', '.join(unmatched)} holds none; run the same "
                "featdepth prepare again with --pseudo-depth, or set objective.pseudo_depth=0"
            )
    if config.data.prepared.singles and not sequence.stereo:
        raise ConfigError("data.prepared.singles takes frames with their stereo partner; set data.sequence.stereo=true")
    if sequence.stereo and not any(paired.values()):
        raise ConfigError(
            "data.sequence.stereo is set, and no cache holds a stereo partner; prepare with --stereo, or set it to "
            "false"
        )
