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
    """Write ``count`` clips, each a stretch of its own; shards that exist are left as they are.

    Args:
        folder: of the cache, or its URL.
        description: plain values that decide the content; a cache made from others is an error.
        count: clips in all.
        shard_clips: clips a shard.
        make_clip: number of a clip -> the clip; must not depend on the order of calls.
        progress: called with the number of clips done since the last call.

    Raises:
        ConfigError: ``folder`` holds a cache made from another description.
        RecordingError: no space left, or the store refuses to write.
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
    """Return ``path`` when it is a cache, else the caches right below it; ``path`` may be a URL (then a str).

    Raises:
        RecordingError: neither.
    """
    store = Store(path)
    if store.read(DESCRIPTION) is not None:
        return [store.location]
    below = [store.below(name).location for name in store.folders_with(DESCRIPTION)]
    if not below:
        raise RecordingError(f"no cache at {store}; write one with: featdepth prepare INPUT --output {store}")
    return below


class ClipCache:
    """Reads caches; images stay on disk until they are indexed, shards of remote caches are fetched when first needed.

    A clip is ``frames`` frames, each ``gap`` kept frames after the one before, all of one stretch. Every such run is a
    clip, in the order of its first frame, cache after cache.

    Args:
        folders: caches (folders or URLs), or pairs of a cache and the number of its stretches to take (None: all). The
            group of a clip is the position of its cache here.
        frames: of a clip; None: what the first cache was made for, else the length of its first stretch.
        gap: 1: neighbours.
        pseudo_depth: read it where it was found for every frame of a cache.
        leave_out: go on without the caches that hold no such clip, as long as any is left.

    Attributes:
        names, locations: of the caches, by group.
        frames, gap: as given.
        left_out: why, by location.

    Raises:
        RecordingError: a cache is missing, damaged, of an older format, or holds no such clip.
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
        """Go on with some of the groups; the others, which `left_out` names, are an error unless they may be left."""
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
            raise IndexError(f"clip {index} of {len(self)}")
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
        """Whether any frame of one cache says what moves by itself."""
        return self._groups[group].has_any("moving")

    def has_pseudo_depth_of(self, group: int) -> bool:
        """Whether the pseudo-depth of every frame of one cache is there and asked for."""
        return bool(self._groups[group].pseudo_depth)

    def split(self, held_out: float | Sequence[float], leave_out: bool = False) -> tuple[ClipCache, ClipCache]:
        """Return all but the last share ``held_out`` of every cache's clips, and that share (at least one clip).

        Held out by time: training never sees the first held-out frame of a cache nor any after it. Clips that would
        reach across belong to neither.

        Args:
            held_out: share, or one for each cache; 0 holds nothing out.
            leave_out: go on without the caches of which nothing is left to train on, as long as any is left.

        Raises:
            RecordingError: nothing is left to train on, in one of the caches.
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
