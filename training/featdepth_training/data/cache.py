"""Clips of neighbouring frames from caches: frames are stored once (see `shards`), clips are formed when reading.

One cache serves single images, pairs and triples, near neighbours and far ones.
"""

from __future__ import annotations

import bisect
import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from featdepth_ros.errors import RecordingError
from featdepth_training.data.cache_reader import CacheReader
from featdepth_training.data.clip import Clip
from featdepth_training.data.shards import (
    DESCRIPTION,
    CachedFrame,
    describe,
    read_indices,
    write_shard,
)
from featdepth_training.data.store import Store


def write_cache(
    folder: str | Path,
    description: dict[str, Any],
    count: int,
    shard_clips: int,
    make_clip: Callable[[int], Clip],
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write ``count`` clips, each as a separate sequence; existing shards are not changed.

    Args:
        folder: folder of the cache, or its URL.
        description: plain values that determine the content; a cache with other values is an error.
        count: total number of clips.
        shard_clips: clips per shard.
        make_clip: returns a clip by its number, independent of the order of calls.
        progress: called with the number of clips done since the last call.

    Raises:
        ConfigError: ``folder`` holds a cache made from another description.
        RecordingError: no space is left, or the store cannot be written.
    """
    store = Store(folder)
    describe(store, {"shard_clips": shard_clips, **description})
    there = {index.number: index for index in read_indices(store)}
    first_frame = 0
    for number, first in enumerate(range(0, count, shard_clips)):
        size = min(shard_clips, count - first)
        index = there.get(number)
        # The last shard of a smaller cache grows.
        if index is None or len({frame["stretch"] for frame in index.frames}) < size:
            frames: list[CachedFrame] = []
            for clip in range(first, first + size):
                frames += make_clip(clip).frames(clip)
                if progress is not None:
                    progress(1)
            write_shard(store, number, first_frame, frames)
            first_frame += len(frames)
        else:
            first_frame += len(index.frames)
            if progress is not None:
                progress(size)


def cache_folders(path: str | Path) -> list[str]:
    """Return ``path`` if it is a cache, else the caches directly below it; ``path`` may be a URL.

    Raises:
        RecordingError: there is no cache.
    """
    store = Store(path)
    if store.read(DESCRIPTION) is not None:
        return [store.location]
    below = [store.below(name).location for name in store.folders_with(DESCRIPTION)]
    if not below:
        raise RecordingError(f"no cache at {store}; write one with: featdepth prepare INPUT --output {store}")
    return below


class ClipCache:
    """Reads clips from caches. Images are read on access, and shards of remote caches are downloaded when needed.

    A clip has ``frames`` frames of one sequence, each ``gap`` stored frames after the previous one. Every such series
    is a clip, in the order of its first frame, cache after cache.

    Args:
        folders: caches (folders or URLs), or pairs of a cache and the number of its sequences to use (None: all). The
            group of a clip is the position of its cache here.
        frames: frames per clip; None: as the first cache was prepared for, else the length of its first sequence.
        gap: distance of the frames; 1: neighbours.
        pseudo_depth: read pseudo-depth from the caches that have it for every frame.
        leave_out: ignore caches without such a clip, if any other is left.

    Attributes:
        names, locations: names and locations of the caches, by group.
        frames, gap: frames per clip, and their distance.
        left_out: reason for each ignored cache, by location.

    Raises:
        RecordingError: a cache is missing, damaged, has an older format, or has no such clip.
    """

    def __init__(
        self,
        folders: Sequence[str | Path | tuple[str | Path, int | None]],
        frames: int | None = None,
        gap: int = 1,
        pseudo_depth: bool = False,
        leave_out: bool = False,
    ) -> None:
        wanted = [(entry if isinstance(entry, tuple) else (entry, None)) for entry in folders]
        if not wanted:
            raise RecordingError("no cache was named; write one with: featdepth prepare INPUT --output CACHE")
        self._groups = [CacheReader.open(Store(folder), count, pseudo_depth) for folder, count in wanted]
        self.frames = frames or self._groups[0].frames
        self.gap = gap
        self._clips = [group.clips(self.frames, gap) for group in self._groups]
        self.left_out: dict[str, str] = {}
        for group, clips in zip(self._groups, self._clips, strict=True):
            if len(clips) == 0:
                self.left_out[group.store.location] = (
                    f"{group.store} holds no run of {(self.frames - 1) * gap + 1} neighbouring frames (it holds "
                    f"{len(group.stamps_ns)} frames, at most {group.longest} in a row); ask for fewer frames, or "
                    "prepare a recording with fewer gaps"
                )
        self._keep([len(clips) > 0 for clips in self._clips], leave_out)

    def _keep(self, chosen: Sequence[bool], leave_out: bool) -> None:
        """Keep the chosen groups; the others, listed in `left_out`, are an error unless ``leave_out`` is set."""
        if not all(chosen) and not (leave_out and any(chosen)):
            raise RecordingError(next(iter(self.left_out.values())))
        self._groups = [group for group, kept in zip(self._groups, chosen, strict=True) if kept]
        self._clips = [clips for clips, kept in zip(self._clips, chosen, strict=True) if kept]
        self.names = [group.store.name for group in self._groups]
        self.locations = [group.store.location for group in self._groups]
        self._count_clips()

    def _count_clips(self) -> None:
        self._ends = np.cumsum([len(clips) for clips in self._clips]).tolist()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Clip:
        """Read one clip.

        Raises:
            RecordingError: a shard is damaged; the message names it.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index} does not exist; there are {len(self)}")
        group = bisect.bisect_right(self._ends, index)
        return self._groups[group].read(self._clips[group][index - self.clips_of(group).start], group)

    def clips_of(self, group: int) -> range:
        """Indices of the clips of one cache."""
        return range(self._ends[group - 1] if group else 0, self._ends[group])

    def image_size_of(self, group: int) -> tuple[int, int]:
        """(height, width) of the frames of one cache, pixels."""
        return self._groups[group].size

    def has_partner_of(self, group: int) -> bool:
        """Whether every frame of one cache has a stereo partner."""
        return self._groups[group].has_all("partner")

    def has_depth_of(self, group: int) -> bool:
        """Whether any frame of one cache has true depth."""
        return self._groups[group].has_any("depth")

    def has_moving_of(self, group: int) -> bool:
        """Return whether any frame of one cache has a mask of moving objects."""
        return self._groups[group].has_any("moving")

    def has_pseudo_depth_of(self, group: int) -> bool:
        """Return whether pseudo-depth was requested and every frame of one cache has it."""
        return bool(self._groups[group].pseudo_depth)

    def split(self, held_out: float | Sequence[float], leave_out: bool = False) -> tuple[ClipCache, ClipCache]:
        """Return all but the last share ``held_out`` of every cache's clips, and that share (at least one clip).

        The split is by time: training uses no frame of a cache from its first held-out frame on. Clips that span both
        parts belong to neither.

        Args:
            held_out: share, or one per cache; 0: nothing is held out.
            leave_out: ignore caches without training clips, if any other is left.

        Raises:
            RecordingError: a cache has no training clips left.
        """
        train, rest = copy.copy(self), copy.copy(self)
        shares = [held_out] * len(self._groups) if isinstance(held_out, (int, float)) else list(held_out)
        train._clips, rest._clips, train.left_out = [], [], dict(self.left_out)
        for location, name, clips, share in zip(self.locations, self.names, self._clips, shares, strict=True):
            kept = len(clips) - (max(round(len(clips) * share), 1) if share else 0)
            before = clips[clips.max(1) < clips[kept:].min()] if share else clips
            if len(before) == 0:
                train.left_out[location] = (
                    f"{len(clips)} clips of '{name}' are too few to train on and to hold some out; prepare more frames"
                )
            train._clips.append(before)
            rest._clips.append(clips[kept:])
        chosen = [len(clips) > 0 for clips in train._clips]
        train._keep(chosen, leave_out)
        rest.left_out = train.left_out
        rest._keep(chosen, leave_out)
        return train, rest

    @property
    def has_depth(self) -> bool:
        """Whether every cache holds true depth for some frame."""
        return all(self.has_depth_of(group) for group in range(len(self._groups)))

    @property
    def has_partner(self) -> bool:
        """Whether every frame of every cache has a stereo partner."""
        return all(self.has_partner_of(group) for group in range(len(self._groups)))

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the first cache's frames, pixels."""
        return self.image_size_of(0)
