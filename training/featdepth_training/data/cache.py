"""Clips of neighbouring frames from caches: frames are stored once (see `shards`), clips are formed when reading.

One cache serves single images, pairs and triples, near neighbours and far ones.
"""

from __future__ import annotations

import bisect
import copy
import logging
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import RecordingError
from featdepth_training.data.shards import (
    DESCRIPTION,
    FIELDS,
    NPY_HEADER_BYTES,
    SUMMARY,
    CachedFrame,
    PseudoDepthIndex,
    ShardIndex,
    describe,
    index_name,
    pseudo_depth_name,
    read_description,
    read_indices,
    read_pseudo_depth_index,
    tar_name,
    write_shard,
)
from featdepth_training.data.store import Store

logger = logging.getLogger(__name__)

#: Distance of the stamps of clips that come without, nanoseconds.
_UNSTAMPED_NS = 100_000_000


@dataclass(frozen=True)
class Clip:
    """Frames of one camera in order of time, none across a cut.

    Attributes:
        images: (F, H, W, 3) uint8 RGB.
        depth: (F, H, W) float16 or float32, metres; inf: nothing there, NaN: unknown; None: no truth.
        poses: (F, 4, 4) float64 T_world_camera (optical axes); NaN: unknown.
        camera: (4,) float64 fx, fy, cx, cy, pixels.
        group: index of the kind of scene.
        partner: (F, H, W, 3) uint8 RGB of the stereo partner, seen with the same ``camera``; None: no partner.
        T_partner_camera: (4, 4) float64, metres; None: no partner.
        stamps_ns: (F,) int64, nanoseconds; empty: unknown (never from a `ClipCache`).
        pseudo_depth: (F, H, W) float16, by `pseudo_depth`: metres where there is a partner, else up to a scale for
            each frame; NaN: unknown; None: never looked for.
    """

    images: NDArray[np.uint8]
    depth: NDArray[np.floating] | None
    poses: NDArray[np.float64]
    camera: NDArray[np.float64]
    group: int = 0
    partner: NDArray[np.uint8] | None = None
    T_partner_camera: NDArray[np.float64] | None = None
    stamps_ns: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    pseudo_depth: NDArray[np.float16] | None = None

    def frames(self, stretch: int) -> list[CachedFrame]:
        """The frames as they are stored, as one stretch."""
        stamps = self.stamps_ns if len(self.stamps_ns) else np.arange(len(self.images)) * _UNSTAMPED_NS
        return [
            CachedFrame(
                image=image,
                camera=self.camera,
                stretch=stretch,
                stamp_ns=int(stamps[i]),
                name=f"{stretch:06d}_{i:03d}",
                pose=self.poses[i],
                depth=None if self.depth is None else self.depth[i],
                partner=None if self.partner is None else self.partner[i],
                T_partner_camera=self.T_partner_camera,
            )
            for i, image in enumerate(self.images)
        ]


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
        description: plain values that decide the content; a cache made from others is refused.
        count: clips in all.
        shard_clips: clips a shard.
        make_clip: number of a clip -> the clip; must not depend on the order of calls.
        progress: told the number of clips done since the last call.

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

    A clip is ``frames`` frames, each ``gap`` kept frames after the one before, all of one stretch; every such run is a
    clip, in the order of its first frame, cache after cache.

    Args:
        folders: caches (folders or URLs), or pairs of a cache and the number of its stretches to take (None: all);
            the group of a clip is the position of its cache here.
        frames: of a clip; None: what the first cache was made for, else the length of its first stretch.
        gap: 1: neighbours.
        pseudo_depth: read it where it was found for every frame of a cache.

    Attributes:
        names: of the caches, by group.
        frames, gap: as given.

    Raises:
        RecordingError: a cache is missing, damaged, of an older format, or holds no such clip.
    """

    def __init__(
        self,
        folders: Sequence[str | Path | tuple[str | Path, int | None]],
        frames: int | None = None,
        gap: int = 1,
        pseudo_depth: bool = False,
    ) -> None:
        wanted = [(entry if isinstance(entry, tuple) else (entry, None)) for entry in folders]
        if not wanted:
            raise RecordingError("no cache was named; write one with: featdepth prepare INPUT --output CACHE")
        self._groups = [_Group.open(Store(folder), count, pseudo_depth) for folder, count in wanted]
        self.names = [group.store.name for group in self._groups]
        self.frames = frames or self._groups[0].frames
        self.gap = gap
        self._clips = [group.clips(self.frames, gap) for group in self._groups]
        for group, clips in zip(self._groups, self._clips, strict=True):
            if len(clips) == 0:
                raise RecordingError(
                    f"{group.store} holds no run of {(self.frames - 1) * gap + 1} neighbouring frames (it holds "
                    f"{len(group.stamps_ns)} frames, at most {group.longest} in a row); ask for fewer frames, or "
                    "prepare a recording with fewer gaps"
                )
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

    def has_pseudo_depth_of(self, group: int) -> bool:
        """Whether the pseudo-depth of every frame of one cache is there and asked for."""
        return bool(self._groups[group].pseudo_depth)

    def split(self, held_out: float) -> tuple[ClipCache, ClipCache]:
        """Return all but the last share ``held_out`` of every cache's clips, and that share (at least one clip).

        Held out by time: training never sees the first held-out frame of a cache nor any after it. Clips that would
        reach across belong to neither.

        Raises:
            RecordingError: nothing is left to train on, in one of the caches.
        """
        train, rest = copy.copy(self), copy.copy(self)
        train._clips, rest._clips = [], []
        for name, clips in zip(self.names, self._clips, strict=True):
            kept = len(clips) - max(round(len(clips) * held_out), 1)
            before = clips[clips.max(1) < clips[kept:].min()]
            if len(before) == 0:
                raise RecordingError(
                    f"{len(clips)} clips of '{name}' are too few to train on and to hold some out; prepare more frames"
                )
            train._clips.append(before)
            rest._clips.append(clips[kept:])
        train._count_clips()
        rest._count_clips()
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


@dataclass
class _Group:
    """One cache: what its indices say, as arrays over its N frames."""

    store: Store
    frames: int
    size: tuple[int, int]
    shards: list[ShardIndex]
    shard: NDArray[np.int32]
    row: NDArray[np.int32]
    offset: dict[str, NDArray[np.int64]]
    crc: dict[str, NDArray[np.uint32]]
    stretch: NDArray[np.int64]
    stamps_ns: NDArray[np.int64]
    cameras: NDArray[np.float64]
    poses: NDArray[np.float64]
    T_partner_camera: NDArray[np.float64]
    checked: bytearray
    pseudo_depth: list[PseudoDepthIndex]
    paths: dict[int, Path] = field(default_factory=dict)

    @classmethod
    def open(cls, store: Store, count: int | None, pseudo_depth: bool) -> _Group:
        """Read the indices of one cache (of its first ``count`` stretches), those of its pseudo-depth if wanted."""
        description = read_description(store)
        if description is None:
            raise RecordingError(f"no cache at {store}; write one with: featdepth prepare INPUT --output {store}")
        shards = read_indices(store)
        if "recording" in description and store.read(SUMMARY) is None:
            logger.warning("%s is not complete; the same featdepth prepare as before completes it", store)
        entries = [
            (number, row, entry) for number, shard in enumerate(shards) for row, entry in enumerate(shard.frames)
        ]
        stretches = sorted({entry["stretch"] for _, _, entry in entries})
        if len(stretches) < (count or 1):
            raise RecordingError(f"{store} holds {len(stretches)} clips; expected {count or 'some'}")
        if count is not None:
            last = stretches[count - 1]
            entries = [entry for entry in entries if entry[2]["stretch"] <= last]
        sizes = {shard.size for shard in shards}
        if len(sizes) > 1:
            raise RecordingError(f"{store} holds frames of sizes {sorted(sizes)}; expected one; prepare it again")
        metas = [entry for _, _, entry in entries]
        offset = {n: np.array([m["offset"].get(n, -1) for m in metas], np.int64) for n in FIELDS}
        matched = [read_pseudo_depth_index(store, s, len(s.frames)) for s in shards] if pseudo_depth else []
        for shard in shards:
            shard.frames.clear()  # the arrays hold all of it
        return cls(
            store=store,
            frames=int(description.get("frames", sum(m["stretch"] == stretches[0] for m in metas))),
            size=shards[0].size,
            shards=shards,
            shard=np.array([number for number, _, _ in entries], np.int32),
            row=np.array([row for _, row, _ in entries], np.int32),
            offset={n: o for n, o in offset.items() if (o >= 0).any()},
            crc={n: np.array([m["crc32"].get(n, 0) for m in metas], np.uint32) for n in FIELDS},
            stretch=np.array([m["stretch"] for m in metas], np.int64),
            stamps_ns=np.array([m["stamp_ns"] for m in metas], np.int64),
            cameras=np.array([m["camera"] for m in metas], np.float64),
            poses=_matrices([m["pose"] for m in metas]),
            T_partner_camera=_matrices([m["T_partner_camera"] for m in metas]),
            checked=bytearray(len(metas)),
            pseudo_depth=[] if None in matched else [index for index in matched if index is not None],
        )

    @property
    def longest(self) -> int:
        """Frames of the longest stretch."""
        return int(np.unique(self.stretch, return_counts=True)[1].max())

    def has_all(self, name: str) -> bool:
        """Whether every frame has this field."""
        return name in self.offset and bool((self.offset[name] >= 0).all())

    def has_any(self, name: str) -> bool:
        """Whether any frame has this field."""
        return name in self.offset

    def clips(self, frames: int, gap: int) -> NDArray[np.int32]:
        """(M, frames) numbers of the frames of each clip, in the order of the first."""
        order = np.argsort(self.stretch, kind="stable").astype(np.int32)
        span = (frames - 1) * gap
        if span >= len(order):
            return np.zeros((0, frames), np.int32)
        starts = np.arange(len(order) - span)
        whole = starts[self.stretch[order[starts]] == self.stretch[order[starts + span]]]
        clips = order[whole[:, None] + np.arange(frames) * gap]
        return clips[np.argsort(clips[:, 0], kind="stable")]

    def read(self, numbers: NDArray[np.int32], group: int) -> Clip:
        """Read the frames with these numbers."""
        stereo = "partner" in self.offset and bool((self.offset["partner"][numbers] >= 0).all())
        deep = "depth" in self.offset and bool((self.offset["depth"][numbers] >= 0).any())
        count = len(numbers)
        images = np.empty((count, *self.size, 3), np.uint8)
        partner = np.empty_like(images) if stereo else None
        depth = np.full((count, *self.size), np.nan, np.float16) if deep else None
        matched = np.empty((count, *self.size), np.float16) if self.pseudo_depth else None
        for into, number in enumerate(numbers.tolist()):
            with open(self._path(int(self.shard[number])), "rb", buffering=0) as file:
                wanted: list[tuple[str, NDArray[Any] | None]] = [
                    ("image", images), ("partner", partner), ("depth", depth)
                ]  # fmt: skip
                for name, arrays in wanted:
                    if arrays is not None and self.offset[name][number] >= 0:
                        self._read(file.fileno(), name, number, arrays[into])
            if matched is not None:
                self._read_pseudo_depth(number, matched[into])
            self.checked[number] = 1
        return Clip(
            images=images,
            depth=depth,
            poses=self.poses[numbers],
            camera=self.cameras[numbers[0]],
            group=group,
            partner=partner,
            T_partner_camera=self.T_partner_camera[numbers[0]] if stereo else None,
            pseudo_depth=matched,
            stamps_ns=self.stamps_ns[numbers],
        )

    def _read_pseudo_depth(self, number: int, into: NDArray[np.float16]) -> None:
        """As `_read`, from the file beside the shard."""
        shard = int(self.shard[number])
        index, name = self.pseudo_depth[shard], pseudo_depth_name(self.shards[shard].number)
        view, row = into.data.cast("B"), int(self.row[number])
        with open(self.store.local_copy(name, index.tag, index.bytes), "rb", buffering=0) as file:
            read = os.preadv(file.fileno(), [view], NPY_HEADER_BYTES + row * view.nbytes)
        if read != view.nbytes or (not self.checked[number] and zlib.crc32(view) != index.crc32[row]):
            raise RecordingError(
                f"{name} of {self.store} is damaged at frame {number}; delete it and its .json, and run featdepth "
                "prepare --pseudo-depth again to restore it"
            )

    def _path(self, shard: int) -> Path:
        path = self.paths.get(shard)
        if path is None:
            index = self.shards[shard]
            path = self.paths[shard] = self.store.local_copy(tar_name(index.number), index.tag, index.bytes)
        return path

    def _read(self, file: int, name: str, number: int, into: NDArray[Any]) -> None:
        """Read one array in place; its checksum is compared the first time."""
        view = into.data.cast("B")
        # Straight into the clip: faster than a memory map, and a file that has become shorter is no bus error.
        read = os.preadv(file, [view], int(self.offset[name][number]))
        if read != view.nbytes or (not self.checked[number] and zlib.crc32(view) != int(self.crc[name][number])):
            shard = self.shards[int(self.shard[number])].number
            raise RecordingError(
                f"shard {tar_name(shard)} of {self.store} is damaged at the {name} of frame {number}; delete it and "
                f"{index_name(shard)}, and run featdepth prepare again to restore them"
                + (f" (its local copy is {self._path(int(self.shard[number]))})" if self.store.remote else "")
            )


def _matrices(values: list[list[list[float]] | None]) -> NDArray[np.float64]:
    unknown = [[float("nan")] * 4] * 4
    return np.array([unknown if v is None else v for v in values], np.float64).reshape(-1, 4, 4)
