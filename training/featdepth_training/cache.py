"""Sequences of images, with truth where there is any, in plain .npy shards: written once, memory-mapped from then on.

Layout: ``<folder>/cache.json`` (what made it) and ``<folder>/shard_00000/``:

    images.npy   (N, H, W, 3) uint8 RGB, every frame once
    depth.npy    (N, H, W) float16 metres; inf: nothing there, NaN: unknown. Absent when no frame has truth
    poses.npy    (N, 4, 4) float64 T_world_camera; NaN: unknown
    clips.npy    (M, F) int32, the frames of each clip; clips share frames
    cameras.npy  (M, 4) float64 fx, fy, cx, cy of each clip, pixels

A shard appears whole or not at all, so that a writer that was stopped goes on where it was.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featdepth_ros.errors import ConfigError, RecordingError

FORMAT = 2
DESCRIPTION = "cache.json"


@dataclass(frozen=True)
class Clip:
    """Consecutive frames of one camera.

    Attributes:
        images: (F, H, W, 3) uint8 RGB.
        depth: (F, H, W) float16 or float32, metres; inf: nothing there, NaN: unknown; None: no truth.
        poses: (F, 4, 4) float64 T_world_camera (optical axes); NaN: unknown.
        camera: (4,) float64 fx, fy, cx, cy, pixels.
        group: index of the kind of scene.
    """

    images: NDArray[np.uint8]
    depth: NDArray[np.floating] | None
    poses: NDArray[np.float64]
    camera: NDArray[np.float64]
    group: int = 0


def shard_path(folder: Path, number: int) -> Path:
    """The folder of shard ``number`` of a cache."""
    return folder / f"shard_{number:05d}"


def write_shard(path: Path, stretches: Sequence[Clip], frames: int) -> int:
    """Write one shard whole; every run of ``frames`` neighbours within a stretch becomes a clip. Returns their number."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    clips: list[NDArray[np.int32]] = []
    cameras: list[NDArray[np.float64]] = []
    first = 0
    for stretch in stretches:
        length = len(stretch.images)
        for start in range(length - frames + 1):
            clips.append(np.arange(first + start, first + start + frames, dtype=np.int32))
            cameras.append(stretch.camera)
        first += length
    np.save(partial / "images.npy", np.concatenate([s.images for s in stretches]))
    if any(s.depth is not None for s in stretches):
        depth = [np.full(s.images.shape[:3], np.nan, np.float16) if s.depth is None else s.depth for s in stretches]
        np.save(partial / "depth.npy", np.concatenate([d.astype(np.float16) for d in depth]))
    np.save(partial / "poses.npy", np.concatenate([s.poses for s in stretches]).astype(np.float64))
    np.save(partial / "clips.npy", np.stack(clips))
    np.save(partial / "cameras.npy", np.stack(cameras).astype(np.float64))
    os.rename(partial, path)
    return len(clips)


def describe(folder: Path, description: dict[str, Any]) -> None:
    """Write ``cache.json``, or check that the one there says the same.

    Raises:
        ConfigError: ``folder`` holds a cache made from another description.
    """
    folder.mkdir(parents=True, exist_ok=True)
    described = json.loads(json.dumps({"format": FORMAT, **description}))
    file = folder / DESCRIPTION
    if not file.is_file():
        file.write_text(json.dumps(described, indent=1), encoding="utf-8")
        return
    found = json.loads(file.read_text(encoding="utf-8"))
    differing = sorted(k for k in {*found, *described} if found.get(k) != described.get(k))
    if differing:
        raise ConfigError(
            f"{folder} holds a cache made with another {', '.join(differing)}; name another folder or delete this one"
        )


def write_cache(
    folder: Path,
    description: dict[str, Any],
    count: int,
    shard_clips: int,
    make_clip: Callable[[int], Clip],
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write ``count`` clips; shards that exist are left as they are.

    Args:
        folder: of the cache.
        description: plain values that decide the content; a cache made from others is refused.
        count, shard_clips: clips in all, clips a shard.
        make_clip: number of a clip -> the clip; must not depend on the order of calls.
        progress: told the number of clips done since the last call.

    Raises:
        ConfigError: ``folder`` holds a cache made from another description.
    """
    describe(folder, {"shard_clips": shard_clips, **description})
    for number, first in enumerate(range(0, count, shard_clips)):
        size = min(shard_clips, count - first)
        path = shard_path(folder, number)
        if path.is_dir() and len(np.load(path / "clips.npy")) < size:
            shutil.rmtree(path)  # the last shard of a smaller cache grows
        if not path.is_dir():
            clips: list[Clip] = []
            for index in range(first, first + size):
                clips.append(make_clip(index))
                if progress is not None:
                    progress(1)
            write_shard(path, clips, len(clips[0].images))
        elif progress is not None:
            progress(size)


def cache_folders(path: Path) -> list[Path]:
    """Return ``path`` when it is a cache, else the caches right below it.

    Raises:
        RecordingError: neither.
    """
    if (path / DESCRIPTION).is_file():
        return [path]
    below = sorted(p.parent for p in path.glob(f"*/{DESCRIPTION}"))
    if not below:
        raise RecordingError(f"no cache at {path}; write one with: featdepth prepare INPUT --output {path}")
    return below


class ClipCache:
    """Reads caches; images and depth stay on disk until they are indexed.

    Args:
        folders: caches and the number of clips to take of each (None: all); the group of a clip is the place of its
            cache here.

    Attributes:
        names: of the caches, by group.
    """

    def __init__(self, folders: Sequence[tuple[Path, int | None]]) -> None:
        self.names = [folder.name for folder, _ in folders]
        self._shards: list[_Shard] = []
        self._places: list[tuple[int, int]] = []
        for group, (folder, count) in enumerate(folders):
            before = len(self._places)
            for path in sorted(folder.glob("shard_*")):
                shard = _Shard.open(path, group)
                there = len(shard.clips)
                left = there if count is None else count - (len(self._places) - before)
                self._places += [(len(self._shards), i) for i in range(min(there, left))]
                self._shards.append(shard)
            found = len(self._places) - before
            if found < (1 if count is None else count):
                raise RecordingError(f"{folder} holds {found} clips; expected {count or 'some'}")

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Clip:
        number, place = self._places[index]
        return self._shards[number].clip(place)

    def split(self, held_out: float) -> tuple[ClipCache, ClipCache]:
        """Return all but the last share ``held_out`` of every folder's clips, and that share (at least one clip).

        Clips that share frames with held-out ones belong to neither.
        """
        train, rest = copy.copy(self), copy.copy(self)
        train._places, rest._places = [], []
        for group in range(1 + max(shard.group for shard in self._shards)):
            places = [p for p in self._places if self._shards[p[0]].group == group]
            kept = len(places) - max(round(len(places) * held_out), 1)
            rest._places += places[kept:]
            frames = len(self._shards[places[0][0]].clips[0])
            train._places += places[: max(kept - frames + 1, 0)]
        if not train._places:
            raise RecordingError(f"{len(self)} clips are too few to train on and to hold some out; prepare more frames")
        return train, rest

    @property
    def has_depth(self) -> bool:
        """Whether every shard holds true depth for some frame."""
        return all(shard.depth is not None for shard in self._shards)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the frames, pixels."""
        height, width = self._shards[0].images.shape[1:3]
        return height, width


@dataclass(frozen=True)
class _Shard:
    """The arrays of the module's docstring."""

    images: NDArray[np.uint8]
    depth: NDArray[np.floating] | None
    poses: NDArray[np.float64]
    clips: NDArray[np.int32]
    cameras: NDArray[np.float64]
    group: int

    @classmethod
    def open(cls, path: Path, group: int) -> _Shard:
        depth = path / "depth.npy"
        return cls(
            images=np.load(path / "images.npy", mmap_mode="r"),
            depth=np.load(depth, mmap_mode="r") if depth.is_file() else None,
            poses=np.load(path / "poses.npy"),
            clips=np.load(path / "clips.npy"),
            cameras=np.load(path / "cameras.npy"),
            group=group,
        )

    def clip(self, place: int) -> Clip:
        frames = self.clips[place]
        depth = None if self.depth is None else self.depth[frames]
        return Clip(self.images[frames], depth, self.poses[frames], self.cameras[place], self.group)
